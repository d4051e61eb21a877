// ---- The form of the flow's parameters. Every value travels as text; the kernel reads and checks it.

class Form {
  constructor(store, submit) {
    this.store = store;
    this.fields = new Map();
    this.problem = make("p", "dagy-problem");
    set(this.problem, { role: "alert" });
    const name = uniqueName("field");
    const fields = store.model.get("form").map((each, index) => this.field(each, `${name}-${index}`));
    this.submit = make("button", "dagy-button dagy-primary");
    this.submit.type = "submit";
    this.element = make("form", "dagy-form", this.problem, make("div", "dagy-fields", ...fields), make("div", "dagy-form-end", this.submit));
    this.element.noValidate = true;
    set(this.element, { "aria-label": "Parameters" });
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.check()) submit();
    });
    this.element.addEventListener("input", () => this.keep());
    this.restore();
  }

  field(spec, id) {
    const { kind, value, required, annotation, description, choices = [] } = spec;
    let input;
    if (kind === "choice") {
      input = make("select", "dagy-input");
      if (value === null) input.append(make("option", "", ""));
      for (const each of choices) {
        const option = make("option", "", each);
        option.value = each;
        input.append(option);
      }
      input.value = value ?? "";
    } else if (kind === "boolean") {
      input = make("input", "dagy-check");
      input.type = "checkbox";
      input.checked = value === "true" || value === "True";
    } else if (kind === "fixed") {
      input = make("output", "dagy-fixed", "a value that has no text: it stays as it is");
    } else if (kind === "json" || (kind === "text" && value?.includes("\n"))) {
      input = make("textarea", "dagy-input");
      input.rows = Math.min(6, Math.max(2, (value || "").split("\n").length));
      input.value = value ?? "";
    } else {
      input = make("input", "dagy-input");
      input.type = spec.secret ? "password" : "text";
      input.autocomplete = "off";
      if (spec.secret) input.placeholder = "as before";
      if (kind === "integer") input.inputMode = "numeric";
      if (kind === "number") input.inputMode = "decimal";
      input.value = value ?? "";
    }
    input.id = id;
    const error = make("span", "dagy-field-error");
    error.id = `${id}-error`;
    const note = make("span", "dagy-field-note", description || "");
    note.id = `${id}-note`;
    const isNeeded = required && kind !== "boolean" && kind !== "fixed" && !spec.secret;
    const label = make("label", "dagy-label", make("b", "", spec.name), isNeeded ? make("span", "dagy-required", "required") : null, make("code", "", annotation || ""));
    label.htmlFor = id;
    set(input, { "aria-required": isNeeded ? "true" : null, spellcheck: kind === "text" ? null : "false", "aria-describedby": `${description ? `${note.id} ` : ""}${error.id}` });
    const field = make("div", `dagy-field dagy-field-${kind}`, label, input, description ? note : null, error);
    field.dataset.field = spec.name;
    this.fields.set(spec.name, { spec, input, error, isNeeded });
    return field;
  }

  get isEmpty() {
    return this.fields.size === 0;
  }

  // The texts to send. What is left empty and has no text of its own keeps its value.
  values() {
    const found = {};
    for (const [name, { spec, input }] of this.fields) {
      if (spec.kind === "fixed") continue;
      const text = spec.kind === "boolean" ? String(input.checked) : input.value;
      if (text === "" && (spec.secret || spec.value === null)) continue;
      found[name] = text;
    }
    return found;
  }

  get isChanged() {
    return [...this.fields.values()].some(({ spec, input }) => {
      if (spec.kind === "fixed") return false;
      if (spec.kind === "boolean") return input.checked !== (spec.value === "true" || spec.value === "True");
      return input.value !== (spec.value ?? "");
    });
  }

  // What the user has put in outlives this drawing of the form.
  keep() {
    this.store.look.fields = new Map([...this.fields].map(([name, { input }]) => [name, input.type === "checkbox" ? input.checked : input.value]));
  }

  restore() {
    for (const [name, value] of this.store.look.fields || []) {
      const { input } = this.fields.get(name);
      if (typeof value === "boolean") input.checked = value;
      else if (value !== undefined) input.value = value;
    }
  }

  check() {
    const missing = [...this.fields].filter(([, { input, isNeeded }]) => isNeeded && input.value === "");
    this.complain(missing.map(([name]) => ({ field: name, message: "is needed" })));
    return missing.length === 0;
  }

  complain(problems) {
    let first = null;
    const general = [];
    for (const [name, { input, error }] of this.fields) {
      const mine = problems.filter((each) => each.field === name);
      say(error, mine.map((each) => each.message).join("; "));
      set(input, { "aria-invalid": mine.length ? "true" : null });
      if (mine.length && !first) first = input;
    }
    for (const { field, message } of problems) if (!this.fields.has(field)) general.push(field ? `${field}: ${message}` : message);
    say(this.problem, general.join("\n"));
    first?.focus();
  }
}
