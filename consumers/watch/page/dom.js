// What all of the page's pieces do with its document.

export const byId = (id) => document.getElementById(id);

export function element(name, text = "", kind = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
}
