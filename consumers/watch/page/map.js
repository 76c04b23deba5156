// All cameras at a glance: a cell each, a row in it for each tier; shapes tell what colours tell.

import { byId, element } from "/dom.js";

export const SIGNS = { right: "✓", wrong: "✗", unjudged: "?", open: "…", silent: "–", elsewhere: "·" };
export const WORDS = {
  right: "right", wrong: "wrong", unjudged: "not judged", open: "no answer yet", silent: "silent", elsewhere: "the other tier's",
};
const MARKS = Object.fromEntries(Object.keys(WORDS).map((mark) => [mark[0], mark]));
const SIZE = 14, SIZE_NARROW = 10, NARROW = 600;

export class CameraMap {
  /** Tells `choose` the place of a camera that somebody wants to see. */
  constructor(choose) {
    this.choose = choose;
    this.canvas = byId("heat");
    this.box = byId("heat-box");
    this.marks = {};
    this.names = [];
    this.at = -1;
    this.canvas.addEventListener("click", (event) => this.pick(this.under(event)));
    this.canvas.addEventListener("pointermove", (event) => this.tell(this.under(event)));
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("focus", () => this.move(Math.max(0, this.at)));
    this.canvas.addEventListener("blur", () => this.draw());
  }

  /** Show these marks, by tier a letter for each camera, if there are more cameras than the wall has place for. */
  show(marks, names, least) {
    this.marks = marks;
    this.names = names;
    this.at = Math.min(this.at, names.length - 1);
    this.box.hidden = names.length <= least || !Object.keys(marks).length;
    if (!this.box.hidden) this.draw();
  }

  under(event) {
    const column = Math.floor(event.offsetX / this.size);
    return column < this.columns ? Math.floor(event.offsetY / this.high) * this.columns + column : -1;
  }

  press(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns };
    const ends = { Home: 0, End: this.names.length - 1 };
    if (event.key in steps) this.move(this.at + steps[event.key]);
    else if (event.key in ends) this.move(ends[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.pick(this.at);
    else return;
    event.preventDefault();
  }

  move(place) {
    if (!this.tell(place)) return;
    this.at = place;
    this.draw();
  }

  pick(place) {
    if (!this.tell(place)) return;
    this.at = place;
    this.draw();
    this.choose(place);
  }

  /** Say what there is of a camera; false if there is none. */
  tell(place) {
    if (!(place in this.names)) return false;
    const said = Object.entries(this.marks).map(([tier, marks]) => `${tier} ${WORDS[MARKS[marks[place]]]}`);
    const text = `${this.names[place]}: ${said.join(", ")}`;
    if (byId("heat-said").textContent !== text) byId("heat-said").textContent = text;
    return true;
  }

  draw() {
    const tiers = Object.keys(this.marks), canvas = this.canvas, wide = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(`--${name}`);
    this.size = wide < NARROW ? SIZE_NARROW : SIZE;
    this.columns = Math.max(1, Math.floor(wide / this.size));
    this.high = tiers.length * (this.size - 4) + 4;
    const height = Math.ceil(this.names.length / this.columns) * this.high;
    canvas.width = wide * ratio;
    canvas.height = height * ratio;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const inks = { r: colour("good-pale"), w: colour("bad"), o: colour("soft"), s: colour("soft"), u: colour("line"), e: colour("line") };
    tiers.forEach((tier, row) => {
      for (let place = 0; place < this.marks[tier].length; place += 1) {
        const [left, top] = this.corner(place);
        this.cell(pen, this.marks[tier][place], left, top + row * (this.size - 4), inks, colour("card"));
      }
    });
    if (document.activeElement === canvas && this.at >= 0) {
      const [left, top] = this.corner(this.at);
      pen.strokeStyle = colour("ink");
      pen.lineWidth = 2;
      pen.strokeRect(left - 1, top - 1, this.size, this.high - 2);
    }
    const wrong = tiers.map((tier) => `${tier}: ${this.marks[tier].split("w").length - 1} wrong`).join(", ");
    canvas.setAttribute("aria-label", `Map of all ${this.names.length} cameras' newest answers; ${wrong}`);
  }

  corner(place) {
    return [(place % this.columns) * this.size, Math.floor(place / this.columns) * this.high];
  }

  cell(pen, mark, left, top, inks, paper) {
    const wide = this.size - 2, high = this.size - 5;
    pen.fillStyle = inks[mark];
    if (mark === "o") pen.fillRect(left, top + high - 2, wide, 2);
    else if (mark === "s") pen.fillRect(left, top + high / 2 - 1, wide, 2);
    else if (mark === "e") pen.fillRect(left + wide / 2 - 1, top + high / 2 - 1, 2, 2);
    else pen.fillRect(left, top, wide, high);
    if (mark !== "w") return;
    pen.strokeStyle = paper;
    pen.lineWidth = 1.6;
    const side = wide / 4;
    pen.beginPath();
    pen.moveTo(left + side, top + 1.5);
    pen.lineTo(left + wide - side, top + high - 1.5);
    pen.moveTo(left + wide - side, top + 1.5);
    pen.lineTo(left + side, top + high - 1.5);
    pen.stroke();
  }
}

/** What the signs mean, as a list. */
export function legend() {
  return Object.keys(SIGNS).map((mark) => {
    const item = element("li", "", mark), sign = element("span", `${SIGNS[mark]} `);
    sign.setAttribute("aria-hidden", "true");
    item.append(sign, WORDS[mark]);
    return item;
  });
}
