// ---- What a task printed: its colours, a line between attempts, and an end that is followed.

const FIRST_LINES = 400; // of the newest lines, shown at first

class Log {
  constructor(label) {
    this.isFollowing = true;
    this.isWhole = false;
    this.lines = make("pre", "dagy-log");
    set(this.lines, { tabindex: 0, role: "log", "aria-live": "off", "aria-label": label });
    this.follow = button("dagy-small", "Follow", () => this.setFollowing(!this.isFollowing), { "aria-pressed": "true", title: "Keep the end in view" });
    this.copy = button("dagy-small", "Copy", () => this.copyAll());
    this.all = button("dagy-small", "Show all", () => {
      this.isWhole = true;
      this.lines.classList.add("dagy-whole");
      this.draw(this.log, this.isEnded);
    });
    this.caption = make("span", "dagy-caption", "Log");
    const bar = make("div", "dagy-bar-of-log", this.caption, this.follow, this.copy, this.all);
    this.element = make("div", "dagy-log-part", bar, this.lines);
    this.lines.addEventListener("scroll", () => {
      const isAtEnd = this.lines.scrollTop + this.lines.clientHeight >= this.lines.scrollHeight - 6;
      if (isAtEnd !== this.isFollowing && !this.isPlacing) this.setFollowing(isAtEnd);
      this.isPlacing = false;
    });
  }

  setFollowing(isFollowing) {
    this.isFollowing = isFollowing;
    set(this.follow, { "aria-pressed": String(isFollowing) });
    if (isFollowing) this.goToEnd();
  }

  goToEnd() {
    if (this.lines.scrollTop + this.lines.clientHeight >= this.lines.scrollHeight - 1) return;
    this.isPlacing = true;
    this.lines.scrollTop = this.lines.scrollHeight;
  }

  async copyAll() {
    const text = this.log.map((each) => plain(each.text)).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      say(this.copy, "Copied");
    } catch {
      getSelection().selectAllChildren(this.lines); // the page may not write there: the text is chosen, for Ctrl+C
      say(this.copy, "Selected");
    }
  }

  // `isEnded`: nothing more will come, so there is nothing to follow.
  draw(log, isEnded) {
    [this.log, this.isEnded] = [log, isEnded];
    const shown = this.isWhole ? log : log.slice(-FIRST_LINES);
    this.all.hidden = this.isWhole || (log.length === shown.length && log.length < 14);
    say(this.copy, "Copy");
    const parts = [];
    const hidden = log.length - shown.length;
    if (hidden) parts.push(make("span", "dagy-log-note", `… ${counted(hidden, "earlier line")}\n`));
    let run = null;
    let style = PLAIN_STYLE;
    let attempt = log.find((each) => each.attempt)?.attempt || 0;
    for (const line of shown) {
      if (line.attempt && line.attempt !== attempt) {
        attempt = line.attempt;
        parts.push(make("span", "dagy-log-attempt", `attempt ${attempt}\n`));
        [run, style] = [null, PLAIN_STYLE];
      }
      const className = `dagy-from-${["stdout", "stderr", "log"].includes(line.stream) ? line.stream : "stdout"}`;
      if (run?.className !== className) parts.push((run = make("span", className)));
      style = writeColoured(run, `${line.text}\n`, style);
    }
    const { scrollTop } = this.lines;
    this.isPlacing = true;
    this.lines.replaceChildren(...parts);
    if (this.isFollowing) this.lines.scrollTop = this.lines.scrollHeight;
    else this.lines.scrollTop = scrollTop;
    this.follow.hidden = isEnded || this.lines.scrollHeight <= this.lines.clientHeight + 1;
  }
}

// ---- the colours of a terminal

const PLAIN_STYLE = { colour: null, back: null, bold: false, faint: false, italic: false, underline: false };

// Add `text` with what its escape sequences ask for, and nothing but text; the style at its end.
function writeColoured(holder, text, style) {
  let now = style;
  for (const [index, part] of text.split(/\u001b\[([0-9;:]*)m/).entries()) {
    if (index % 2) now = styled(now, part);
    else if (part) holder.append(now === PLAIN_STYLE ? part : colouredSpan(part, now));
  }
  return now;
}

function colouredSpan(text, style) {
  const span = make("span", "", text);
  for (const [part, value] of [["fg", style.colour], ["bg", style.back]]) {
    if (typeof value === "number") span.classList.add(`dagy-${part}-${value}`);
    else if (value) span.style[part === "fg" ? "color" : "backgroundColor"] = value;
  }
  for (const word of ["bold", "faint", "italic", "underline"]) if (style[word]) span.classList.add(`dagy-${word}`);
  return span;
}

function styled(before, codes) {
  const numbers = codes.split(/[;:]/).map((each) => Number(each) || 0);
  let style = { ...before };
  while (numbers.length) {
    const code = numbers.shift();
    if (code === 0) style = { ...PLAIN_STYLE };
    else if (code === 1) style.bold = true;
    else if (code === 2) style.faint = true;
    else if (code === 3) style.italic = true;
    else if (code === 4) style.underline = true;
    else if (code === 22) style.bold = style.faint = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.underline = false;
    else if (code === 38) style.colour = extendedColour(numbers);
    else if (code === 48) style.back = extendedColour(numbers);
    else if (code === 39) style.colour = null;
    else if (code === 49) style.back = null;
    else if (code >= 30 && code <= 37) style.colour = code - 30;
    else if (code >= 90 && code <= 97) style.colour = code - 82;
    else if (code >= 40 && code <= 47) style.back = code - 40;
    else if (code >= 100 && code <= 107) style.back = code - 92;
  }
  return Object.keys(PLAIN_STYLE).every((key) => style[key] === PLAIN_STYLE[key]) ? PLAIN_STYLE : style;
}

// The colour that follows 38 or 48, taken from `numbers`: one of 16 by its number, else as CSS.
function extendedColour(numbers) {
  const kind = numbers.shift();
  const byte = () => Math.min(255, numbers.shift() || 0);
  if (kind === 2) return `rgb(${byte()}, ${byte()}, ${byte()})`;
  if (kind !== 5) return null;
  const index = byte();
  if (index < 16) return index;
  if (index > 231) return `rgb(${Array(3).fill(8 + 10 * (index - 232)).join(", ")})`;
  const level = (value) => (value ? 55 + 40 * value : 0);
  const at = index - 16;
  return `rgb(${level(Math.floor(at / 36))}, ${level(Math.floor(at / 6) % 6)}, ${level(at % 6)})`;
}
