// Elements, made one by one: text goes in as text, whatever it holds.

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") element.className = value || "";
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  }
}

function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

function section(id, title, lead, ...children) {
  const heading = make("h2", { id: `${id}-title` }, title);
  const made = make("section", { id, "aria-labelledby": `${id}-title` }, heading);
  if (lead) made.append(make("p", { class: "lead" }, lead));
  add(made, children);
  document.getElementById("main").append(made);
  document.getElementById("nav").append(make("a", { href: `#${id}` }, title));
  return made;
}

// A path, which breaks behind its slashes where it has to.
function path(name) {
  const made = make("span", { class: "path", dir: "ltr" });
  const parts = name.split("/").slice(0, 100);
  const rest = name.split("/").slice(100);
  parts.forEach((part, i) => made.append(...(i ? ["/", make("wbr"), part] : [part])));
  if (rest.length) made.append(`/${rest.join("/")}`);
  return made;
}

// A table: columns are [title, class, scope of the cell]; cells are texts or elements.
function table(caption, columns, rows) {
  const head = columns.map(([title, kind]) => make("th", { scope: "col", class: kind }, title));
  const body = rows.map((cells) =>
    make("tr", {}, cells.map((cell, i) => make("td", { class: columns[i][1] }, cell))),
  );
  return make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, head)), make("tbody", {}, body));
}

// What stands behind a chart, for those who cannot see it, or want the figures. It is made when it is opened.
function behind(label, build) {
  const place = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label });
  const made = make("details", { class: "behind" }, make("summary", {}, label), place);
  made.addEventListener("toggle", () => {
    if (made.open) fill(place, build());
  });
  return made;
}

// A row of choices, one of which holds.
function choice(legend, options, chosen, changed) {
  const name = `choice-${legend.replace(/\W+/g, "-")}`;
  const made = make("fieldset", { class: "choice" }, make("legend", { class: "hidden" }, legend));
  for (const [value, title] of options) {
    const input = make("input", { type: "radio", name, value, checked: value === chosen });
    input.addEventListener("change", () => changed(value));
    made.append(make("label", {}, input, title));
  }
  return made;
}

function figures(list, kind) {
  return make(
    "dl",
    { class: kind },
    list.map((each) =>
      make(
        "div",
        { class: each.wide && "broad" },
        make("dt", {}, each.label),
        each.parts
          ? make("dd", { class: "parts" }, each.parts.map(([label, value]) => make("span", {}, make("i", {}, label), " ", value)))
          : make("dd", { class: "figure" }, each.value),
        each.meaning && make("dd", { class: "meaning" }, each.meaning),
      ),
    ),
  );
}

const tip = document.getElementById("tip");

function showTip(event, ...children) {
  fill(tip, ...children);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, window.innerWidth - box.width - 8);
  const below = event.clientY + 18;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below + box.height > window.innerHeight - 8 ? event.clientY - box.height - 12 : below}px`;
}

function hideTip() {
  tip.hidden = true;
}
