// ---- Elements. Text from the run reaches the page as text only.

const namesOfThis = crypto.randomUUID?.().slice(0, 8) ?? Math.random().toString(36).slice(2); // module: each run has its own
let namesMade = 0;

// An id that nothing else on the page has.
function uniqueName(what) {
  namesMade += 1;
  return `dagy-${what}-${namesOfThis}-${namesMade}`;
}

function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...inside.filter((each) => each !== null && each !== undefined && each !== ""));
  return element;
}

function button(className, text, action, attributes = {}) {
  const element = make("button", className, text);
  element.type = "button";
  element.addEventListener("click", action);
  set(element, attributes);
  return element;
}

// Attributes; null takes one away.
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function svgElement(tag, attributes) {
  return set(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes);
}

// The disc with a state's icon; the state's word always stands near it.
function badge(looks, state) {
  const holder = make("span", "dagy-badge-icon");
  const svg = svgElement("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" });
  svg.append(svgElement("path", { d: looks[state].icon }));
  holder.append(svg);
  return holder;
}

function drawBadge(holder, looks, state) {
  if (holder.dataset.state === state) return;
  holder.dataset.state = state;
  holder.replaceChildren(badge(looks, state));
}

// A small picture on a button, by the path in a square of 16.
const GLYPHS = {
  plus: "M8 3.5v9M3.5 8h9",
  minus: "M3.5 8h9",
  fit: "M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3",
  close: "M4 4l8 8M12 4l-8 8",
  cell: "M6 4l-3.5 4L6 12M10 4l3.5 4L10 12",
};

function glyph(name) {
  const svg = svgElement("svg", { viewBox: "0 0 16 16", width: 14, height: 14, class: "dagy-glyph", "aria-hidden": "true" });
  svg.append(svgElement("path", { d: GLYPHS[name] }));
  return svg;
}

// What a task shows is the user's own, but may quote data from anywhere: it is put where no script runs, nothing loads.
function previewElement({ kind, content }, what) {
  if (kind === "image") {
    const image = make("img", "dagy-image");
    image.src = content.startsWith("data:image/") ? content : "data:,";
    image.alt = `${what}, an image`;
    return image;
  }
  if (kind === "text") return make("pre", "dagy-text", content);
  const frame = make("iframe", "dagy-frame-html");
  frame.setAttribute("sandbox", "allow-same-origin"); // no scripts; the page may measure it
  frame.title = what;
  frame.tabIndex = -1;
  frame.addEventListener("load", () => {
    const inside = frame.contentDocument;
    if (!inside?.body) return;
    const style = getComputedStyle(frame);
    inside.documentElement.style.colorScheme = style.colorScheme;
    inside.body.style.color = style.color;
    frame.style.height = `${Math.min(420, inside.documentElement.scrollHeight + 2)}px`;
  });
  frame.srcdoc =
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src ` +
    `'none'; img-src data:; style-src 'unsafe-inline'"><title>result</title><style>body{margin:0;` +
    `font:13px system-ui,sans-serif;background:transparent}table{border-collapse:collapse}td,th{padding:3px 10px;` +
    `text-align:right;border-bottom:1px solid rgba(127,127,127,.3)}</style>${content}`;
  return frame;
}
