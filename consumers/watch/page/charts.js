// Line charts of the last minutes: drawn anew every second, from nothing but what came.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300, HEIGHT = 132, LEFT = 40, RIGHT = 6, TOP = 10, BOTTOM = 18;
const SPAN_LEAST_S = 60;

/** A number for people: n/a for what was not measured. */
export function figure(value, digits = 1) {
  if (value === null || value === undefined) return "n/a";
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function make(name, attributes = {}, text = "") {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

/** Where values stand on a scale from 0, or from the power of ten below them. */
function scale(values, logarithmic) {
  const most = Math.max(...values, logarithmic ? 1 : 0);
  if (logarithmic) {
    const least = Math.min(...values.filter((value) => value > 0), most);
    const low = Math.floor(Math.log10(least)), high = Math.max(low + 1, Math.ceil(Math.log10(most)));
    const marks = [...Array(high - low + 1).keys()].map((step) => 10 ** (low + step));
    return { marks, at: (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low) };
  }
  const power = 10 ** Math.floor(Math.log10(most || 1));
  const top = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= most);
  return { marks: [0, top / 2, top], at: (value) => value / top };
}

function path(points, x, y) {
  let drawn = "", up = true;
  for (const [at, value] of points) {
    if (value === null || value === undefined) { up = true; continue; }
    drawn += `${up ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    up = false;
  }
  return drawn;
}

function key(line, value, unit, digits) {
  const item = document.createElement("span");
  const swatch = make("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" });
  swatch.append(make("path", { d: "M0 4H26", class: `line-${line}` }));
  const number = document.createElement("b");
  number.textContent = figure(value, digits);
  item.append(swatch, `${line === "frames" ? "in Kafka" : line} `, number, ` ${unit}`);
  return item;
}

/** One chart, drawn into its own figure. */
export class Chart {
  constructor(title, unit, { logarithmic = false, digits = 0 } = {}) {
    this.title = title;
    this.unit = unit;
    this.logarithmic = logarithmic;
    this.digits = digits;
    this.node = document.createElement("figure");
    this.node.className = "card";
    const caption = document.createElement("figcaption");
    caption.textContent = title;
    this.keys = document.createElement("div");
    this.keys.className = "keys";
    this.svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.node.append(caption, this.keys, this.svg);
  }

  /** Lines are names with [second, value] pairs. */
  draw(lines, now) {
    const values = Object.values(lines).flat().map(([, value]) => value).filter((value) => value !== null && value !== undefined);
    const { marks, at } = scale(values, this.logarithmic);
    const span = Math.max(SPAN_LEAST_S, now - Math.min(now, ...Object.values(lines).map((points) => points[0]?.[0] ?? now)));
    const x = (second) => LEFT + (1 - Math.min(1, (now - second) / span)) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - at(value) * (HEIGHT - TOP - BOTTOM);
    const drawn = marks.flatMap((mark) => [
      make("path", { class: "grid", d: `M${LEFT} ${y(mark)}H${WIDTH - RIGHT}`, "stroke-width": 1 }),
      make("text", { x: LEFT - 5, y: y(mark) + 4, "text-anchor": "end" }, mark.toLocaleString("en")),
    ]);
    for (const [second, word] of [[now - span, `${Math.round(span)} s ago`], [now, "now"]]) {
      const anchor = second === now ? "end" : "start";
      drawn.push(make("text", { x: x(second), y: HEIGHT - 3, "text-anchor": anchor }, word));
    }
    for (const [name, points] of Object.entries(lines)) {
      drawn.push(make("path", { class: `line-${name}`, d: path(points, x, y) }));
    }
    this.svg.replaceChildren(...drawn);
    const last = Object.entries(lines).map(([name, points]) => [name, points.at(-1)?.[1]]);
    this.keys.replaceChildren(...last.map(([name, value]) => key(name, value, this.unit, this.digits)));
    const told = last.map(([name, value]) => `${name} ${figure(value, this.digits)} ${this.unit}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.title}, now: ${told}`);
  }
}
