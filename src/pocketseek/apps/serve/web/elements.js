// Making elements, without HTML from strings: what a person or a model wrote goes in as text.
const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** make("button", {class: "icon", onclick}, child, "text") */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function iconButton(name, label, onclick, kind = "icon") {
  return make("button", { type: "button", class: kind, "aria-label": label, title: label, onclick }, icon(name));
}

export function swapIcon(button, name) {
  button.querySelector("use").setAttribute("href", `#i-${name}`);
}

/** Where the page is served without TLS to another device, browsers have no clipboard; the old way still works. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = make("textarea", { class: "unseen", readonly: true });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
