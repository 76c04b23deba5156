// The camera wall: one page of pictures with both tiers' answers.

import { byId, element } from "/dom.js";
import { SIGNS, WORDS } from "/map.js";

export const PAGE = 24;

function age(seconds) {
  if (seconds === null) return "none yet";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 100 ? `${Math.floor(seconds)} s` : `${Math.floor(seconds / 60)} min`;
}

/** One camera; made once and filled again. */
class Tile {
  constructor() {
    this.node = element("li", "", "tile");
    this.canvas = element("canvas");
    this.canvas.setAttribute("role", "img");
    this.name = element("h3");
    this.said = element("p");
    this.answers = element("dl");
    const words = element("div");
    words.append(this.name, this.said, this.answers);
    this.node.append(this.canvas, words);
  }

  fill(tile) {
    this.name.textContent = this.name.title = tile.camera;
    this.said.textContent = tile.truth ? `shows: ${tile.truth}` : "";
    const what = tile.picture ? `frame ${tile.number}` : "no picture";
    this.canvas.setAttribute("aria-label", tile.truth ? `${what}: ${tile.truth}` : what);
    this.node.classList.toggle("has-wrong", tile.answers.some((answer) => answer.mark === "wrong"));
    this.answers.replaceChildren(...tile.answers.flatMap((answer) => this.answer(answer)));
    this.draw(tile.picture);
  }

  /** What a tier says of this frame, and how long ago it said anything of this camera. */
  answer(answer) {
    const line = element("dd", "", answer.mark), last = element("dd", age(answer.age_s), "age");
    const sign = element("span", `${SIGNS[answer.mark]} `);
    sign.setAttribute("aria-hidden", "true");
    line.append(sign);
    if (answer.label) line.append(answer.label, element("span", `, ${WORDS[answer.mark]}`, "unseen"));
    else line.append(WORDS[answer.mark]);
    line.title = answer.label || WORDS[answer.mark];
    last.prepend(element("span", "its last answer: ", "unseen"));
    if (answer.age_s !== null) last.append(element("span", " ago", "unseen"));
    return [element("dt", answer.tier), line, last];
  }

  draw(picture) {
    this.canvas.classList.toggle("none", !picture);
    if (!picture) {
      this.canvas.width = this.canvas.height = 1;
      return;
    }
    const bytes = Uint8Array.from(atob(picture.rgb), (letter) => letter.charCodeAt(0));
    if (this.canvas.width !== picture.width) this.canvas.width = picture.width;
    if (this.canvas.height !== picture.height) this.canvas.height = picture.height;
    const image = new ImageData(picture.width, picture.height);
    for (let from = 0, to = 0; from < bytes.length; from += 3, to += 4) {
      image.data.set([bytes[from], bytes[from + 1], bytes[from + 2], 255], to);
    }
    this.canvas.getContext("2d").putImageData(image, 0, 0);
  }
}

export class Wall {
  constructor() {
    this.page = 0;
    this.cameras = 0;
    this.tiles = [];
    this.chosen = -1;
    this.asking = null;
    this.order = byId("order");
    this.order.addEventListener("change", () => this.go(0));
    byId("back").addEventListener("click", () => this.go(this.page - 1));
    byId("on").addEventListener("click", () => this.go(this.page + 1));
  }

  pages() { return Math.max(1, Math.ceil(this.cameras / PAGE)); }

  /** Turn to another page: what was asked for of the one before is of no use any more. */
  go(page, chosen = -1) {
    this.page = Math.min(Math.max(0, page), this.pages() - 1);
    this.chosen = chosen;
    return this.ask();
  }

  /** Turn to the page of one camera, by its place in the order of names. */
  find(place) {
    this.order.value = "name";
    return this.go(Math.floor(place / PAGE), place);
  }

  /** Show this page anew; say whether that was done. One that is still asked for is waited for. */
  async show(cameras) {
    this.cameras = cameras;
    this.page = Math.min(this.page, this.pages() - 1);
    this.label();
    return this.asking ? false : this.ask();
  }

  label() {
    const first = this.page * PAGE, last = Math.min(first + PAGE, this.cameras);
    byId("place").textContent = this.cameras ? `${first + 1} to ${last} of ${this.cameras.toLocaleString("en")}` : "none yet";
    byId("back").disabled = this.page === 0;
    byId("on").disabled = this.page >= this.pages() - 1;
  }

  async ask() {
    this.asking?.abort();
    this.asking = null;
    this.label();
    if (document.hidden) return false;
    const asking = new AbortController(), first = this.page * PAGE;
    this.asking = asking;
    try {
      const answer = await fetch(`/wall?order=${this.order.value}&first=${first}&count=${PAGE}`, { signal: asking.signal });
      const tiles = answer.ok ? await answer.json() : null;
      if (!tiles || this.asking !== asking) return false;
      this.fill(tiles, first);
      return true;
    } catch {
      return false; // the stream says that the watcher is away
    } finally {
      if (this.asking === asking) this.asking = null;
    }
  }

  fill(tiles, first) {
    while (this.tiles.length < tiles.length) this.tiles.push(new Tile());
    tiles.forEach((tile, place) => {
      this.tiles[place].fill(tile);
      this.tiles[place].node.classList.toggle("chosen", first + place === this.chosen);
    });
    const shown = this.tiles.slice(0, tiles.length).map((tile) => tile.node);
    const wall = byId("wall");
    if (wall.children.length !== shown.length) wall.replaceChildren(...shown);
  }
}
