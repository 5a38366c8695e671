"use strict";

// Each player is a <section class="player">. Its data, from the one walk in Python:
//   opens: after how many steps it opens
//   steps: what is applied, the amounts and edges that belong to it, to which boxes each contribution goes, what is
//     asked of who predicts, and its words
//   boxes: the elements of the picture, when they are applied, the texts of their gradients, and their stories
//   edges: their elements, and the last step that sends along each
//   start: what is shown before the first step; mistakes: texts that questions share; line: the height of one
class Player {
  constructor(section) {
    this.section = section;
    const find = (selector) => section.querySelector(selector);
    this.find = find;
    const data = JSON.parse(find("script.walk").textContent);
    this.steps = data.steps;
    this.start = data.start;
    this.svg = find(".picture svg");
    this.boxes = data.boxes.map((box) => {
      const element = document.getElementById(box.id);
      return { ...box, element, mark: element.querySelector(".mark"), grad: element.querySelector(".grad") };
    });
    this.amounts = drawn("g", {});
    this.svg.querySelector("g").append(this.amounts);
    this.edges = data.edges.map((edge) => ({ ...edge, element: document.getElementById(edge.id) }));
    this.mistakes = data.mistakes;
    this.line = data.line; // the height of one in an amount
    this.rows = [...section.querySelectorAll("tbody tr")];
    this.natural = { width: this.svg.viewBox.baseVal.width * 4 / 3, height: this.svg.viewBox.baseVal.height * 4 / 3 };
    this.position = 0;
    this.playing = null;
    this.looked = null; // the box whose story is told
    this.kept = false; // whether it stays when the pointer leaves
    this.asked = new Map(); // by step: the questions with what was typed, and whether they are settled
    this.tally = {}; // by kind of operation: [right, wrong, shown]
    this.wire();
    this.zoom(null);
    this.show(data.opens);
  }

  get last() { return this.steps.length; }
  get step() { return this.position ? this.steps[this.position - 1] : this.start; }
  get predicting() { return this.find(".predict").checked; }
  get asking() {
    return this.predicting && this.step.asks.length > 0 && !this.asked.get(this.position)?.settled;
  }

  // The state after `position` steps

  show(position) {
    const before = this.position;
    this.position = Math.max(0, Math.min(this.last, position));
    const k = this.position;
    const step = this.step;
    const asking = this.asking;
    this.section.classList.toggle("asking", asking);
    this.boxes.forEach((box, index) => {
      const mark = this.markOf(box);
      box.element.classList.remove("done", "now", "next", "later");
      if (mark) box.element.classList.add(mark);
      const received = k > 0 && step.to.includes(index);
      box.element.classList.toggle("received", received);
      if (box.mark) box.mark.textContent = this.markText(box, mark);
      const hidden = (asking && received) || this.hides(box);
      if (box.grad) box.grad.textContent = hidden ? box.texts[0][1].replace(/ \S+$/, " ?") : this.gradOf(box);
    });
    const sent = new Set(step.edges);
    this.edges.forEach((edge, index) => {
      edge.element.classList.toggle("now", sent.has(index));
      edge.element.classList.toggle("done", !sent.has(index) && edge.last >= 0 && edge.last < k);
    });
    this.amounts.replaceChildren(...step.amounts.map((amount) => this.written(amount)));
    this.rows.forEach((row, index) => row.classList.toggle("now", index === k - 1));
    this.find(".all").hidden = this.predicting;
    this.find(".count").textContent = `Step ${k} of ${this.last}`;
    const slider = this.find(".slider");
    slider.value = k;
    slider.setAttribute("aria-valuetext", `Step ${k} of ${this.last}`);
    // not `disabled`, which would take the focus away, and the keys with it
    for (const name of ["first", "previous"]) this.find(`.${name}`).ariaDisabled = k === 0;
    for (const name of ["next", "last"]) this.find(`.${name}`).ariaDisabled = k === this.last && !asking;
    this.ask(step);
    this.tell(step, asking);
    this.story();
    this.follow(Math.abs(k - before) === 1 && !still.matches && !this.playing);
  }

  // What stands on an edge, over all else: local derivative × incoming gradient = amount
  written([left, top, width, ...lines]) {
    const group = drawn("g", { class: "amount now" });
    group.append(drawn("rect", { x: left, y: top, width, height: lines.length * this.line + 4, rx: 3 }));
    lines.forEach((line, row) => {
      const text = drawn("text", { x: left + width / 2, y: top + 2 + (row + 0.78) * this.line });
      text.textContent = line;
      group.append(text);
    });
    return group;
  }

  markOf(box) {
    const k = this.position;
    if (!box.ranks.length) return "";
    if (box.ranks.includes(k - 1)) return "now";
    if (box.ranks.includes(k)) return "next";
    return box.ranks[box.ranks.length - 1] < k ? "done" : "later";
  }

  // A sum over paths is complete before it is asked for, at its own step.
  hides(box) {
    const waits = box.summed > 0 && box.complete <= this.position && this.position <= box.summed;
    return this.predicting && waits && !this.asked.get(box.summed)?.settled;
  }

  markText(box, mark) {
    const done = box.ranks.filter((rank) => rank < this.position).length;
    return mark === "later" && done ? `${done} OF ${box.ranks.length} DONE` : mark.toUpperCase();
  }

  gradOf(box) {
    let text = "";
    for (const [step, now] of box.texts) {
      if (step > this.position) break;
      text = now;
    }
    return text;
  }

  tell(step, asking) {
    const words = this.find(".words");
    words.replaceChildren(make("h2", step.head));
    if (step.where) words.append(make("p", step.where, "where"));
    const list = make("dl");
    const open = asking ? this.asked.get(this.position).open.filter((one) => !one.done).map((one) => one.question.row) : [];
    step.rows.forEach(([left, sign, right], row) => {
      const kind = sign === "+=" ? "sends" : "";
      const asksLater = kind && this.hides(this.boxes[step.to[row / 2 - 1]]); // for the sum that is complete now
      const told = asksLater ? right.replace(/, \S+ now\)$/, ", ? now)") : right;
      list.append(make("dt", `${left} ${sign}`, kind), make("dd", open.includes(row) ? "?" : told, kind));
    });
    words.append(list);
    if (step.more) words.append(make("p", step.more, "where"));
  }

  // Bring what the step touches into view: the node and where it sends, or the node where that is too much.
  follow(smooth = false) {
    const step = this.step;
    const picture = this.find(".picture");
    picture.scrollBy({ left: 0, top: 0, behavior: "instant" }); // ends a movement under way
    const around = picture.getBoundingClientRect();
    const margin = 40;
    const place = (index) => this.boxes[index].element.getBoundingClientRect();
    const union = (one, other) => ({
      left: Math.min(one.left, other.left), right: Math.max(one.right, other.right),
      top: Math.min(one.top, other.top), bottom: Math.max(one.bottom, other.bottom),
    });
    const now = place(step.now);
    const all = step.to.map(place).reduce(union, now);
    const fits = all.right - all.left < around.width - 2 * margin && all.bottom - all.top < around.height - 2 * margin;
    const box = fits ? all : now;
    const aside = (low, high, start, end) => (low < start + margin || high > end - margin ? (low + high - start - end) / 2 : 0);
    const left = aside(box.left, box.right, around.left, around.right);
    const top = aside(box.top, box.bottom, around.top, around.bottom);
    if (left || top) picture.scrollBy({ left, top, behavior: smooth ? "smooth" : "instant" });
  }

  // Moving

  go(position) {
    this.show(position);
    link();
  }

  next() {
    if (this.asking) this.settle();
    else this.go(this.position + 1);
  }

  play(on) {
    clearInterval(this.playing);
    this.playing = null;
    if (on) {
      if (this.position === this.last) this.go(0);
      this.playing = setInterval(() => {
        if (this.asking) this.play(false);
        else this.go(this.position + 1);
        if (this.position === this.last) this.play(false);
      }, 1600 / Number(this.find(".speed").value));
    }
    const button = this.find(".play");
    button.textContent = on ? "❚❚ Pause" : "▶ Play";
    button.setAttribute("aria-label", on ? "Pause" : "Play");
  }

  zoom(factor) {
    const picture = this.find(".picture");
    const height = parseFloat(getComputedStyle(picture).maxHeight);
    const whole = Math.min((picture.clientWidth - 4) / this.natural.width, (height - 4) / this.natural.height);
    const readable = Math.max(0.9, Math.min(1.2, whole));
    if (factor === null) this.scale = this.scale === whole ? readable : this.scale ? whole : readable;
    else this.scale = Math.max(0.1, Math.min(4, this.scale * factor));
    this.svg.style.width = `${this.natural.width * this.scale}px`;
    this.svg.style.height = `${this.natural.height * this.scale}px`;
    this.follow();
  }

  // Stories

  look(index, keep = false) {
    if (this.looked !== null) this.boxes[this.looked].element.classList.remove("looked");
    this.kept = keep && !(this.kept && this.looked === index);
    this.looked = index;
    if (index !== null) this.boxes[index].element.classList.add("looked");
    this.story();
  }

  story() {
    const story = this.find(".story");
    const box = this.looked === null ? null : this.boxes[this.looked];
    story.hidden = box === null;
    if (!box) return;
    const complete = box.complete <= this.position;
    story.replaceChildren(make("h2", box.title));
    if (!box.texts.length) return;
    const hidden = this.predicting && (!complete || this.asking || this.hides(box));
    const state = complete ? "complete" : `so far; complete after step ${box.complete}`;
    story.append(make("p", hidden ? "Its gradient is yours to predict." : `${this.gradOf(box)} (${state})`));
    if (!hidden && box.why) story.append(make("p", box.why));
  }

  // Prediction

  // What was typed at a step stays there, settled or not.
  ask(step) {
    const form = this.find(".questions");
    form.hidden = !this.predicting || !step.asks.length;
    if (form.hidden) return;
    const here = this.asked.get(this.position) ?? this.questions(step);
    this.asked.set(this.position, here);
    if (form.firstChild !== here.elements[0]) form.replaceChildren(...here.elements);
  }

  questions(step) {
    const elements = [];
    const open = step.asks.map((question, index) => {
      const label = make("label", question.text);
      const row = make("span", "", "row");
      const input = make("input");
      input.type = "text";
      input.autocomplete = "off";
      input.spellcheck = false;
      const said = make("p", "", "said");
      said.setAttribute("role", "status");
      said.id = `${this.section.id}-said-${index}`;
      input.setAttribute("aria-describedby", said.id);
      row.append(input);
      label.append(row);
      elements.push(label, said);
      return { question, input, said, tries: 0, done: false };
    });
    const buttons = make("div", "", "row");
    const reveal = make("button", "Show me");
    reveal.type = "button";
    reveal.addEventListener("click", () => this.settle());
    buttons.append(make("button", "Check"), reveal);
    elements.push(buttons);
    return { open, elements, buttons, settled: false };
  }

  check() {
    const { open } = this.asked.get(this.position);
    for (const one of open) {
      const typed = one.input.value.trim();
      if (one.done || !typed) continue;
      const verdict = judged(typed, one.question, this.mistakes);
      one.said.textContent = verdict.text;
      one.said.className = `said ${verdict.kind}`;
      if (verdict.kind === "unread") continue;
      if (one.tries === 0) this.count(one.question.kind, verdict.kind === "right" ? 0 : 1);
      one.tries += 1;
      if (verdict.kind === "right") {
        one.done = true;
        one.input.readOnly = true;
      }
    }
    this.tell(this.step, true);
    const waiting = open.find((one) => !one.done);
    if (waiting) waiting.input.focus();
    else this.settle();
  }

  count(kind, place) {
    (this.tally[kind] ??= [0, 0, 0])[place] += 1;
    const total = [0, 1, 2].map((i) => Object.values(this.tally).reduce((sum, one) => sum + one[i], 0));
    const kinds = Object.entries(this.tally).map(([name, [right, wrong, shown]]) => `${name} ${right}/${right + wrong + shown}`);
    this.find(".score").textContent = `Right at once: ${total[0]} of ${total[0] + total[1] + total[2]} (${kinds.join(", ")})`;
  }

  // All is answered, or what is not is shown.
  settle() {
    const here = this.asked.get(this.position);
    for (const one of here.open) {
      one.input.readOnly = true;
      if (one.done) continue;
      if (!one.tries) this.count(one.question.kind, 2);
      one.said.textContent = `It is ${one.question.shown}.`;
      one.said.className = "said";
    }
    const typing = this.find(".questions").contains(document.activeElement);
    here.settled = here.buttons.hidden = true;
    this.show(this.position);
    if (typing) this.find(".next").focus();
  }

  // Keys and pointers

  wire() {
    const on = (selector, event, act) => this.find(selector).addEventListener(event, act);
    on(".first", "click", () => this.go(0));
    on(".previous", "click", () => this.go(this.position - 1));
    on(".next", "click", () => this.next());
    on(".last", "click", () => this.go(this.last));
    on(".play", "click", () => this.play(!this.playing));
    on(".slider", "input", (event) => this.go(Number(event.target.value)));
    on(".speed", "change", () => this.playing && this.play(true));
    on(".predict", "change", () => this.show(this.position));
    on(".smaller", "click", () => this.zoom(1 / 1.25));
    on(".larger", "click", () => this.zoom(1.25));
    on(".fit", "click", () => this.zoom(null));
    on(".theme", "click", recolour);
    on(".questions", "submit", (event) => {
      event.preventDefault();
      this.check();
    });
    this.find("tbody").addEventListener("click", (event) => {
      const row = event.target.closest("a") && event.target.closest("tr");
      if (!row) return;
      event.preventDefault();
      this.go(this.rows.indexOf(row) + 1);
      this.find(".picture").scrollIntoView({ block: "nearest" });
    });
    this.boxes.forEach((box, index) => {
      box.element.addEventListener("pointerenter", () => this.kept || this.look(index));
      box.element.addEventListener("pointerleave", () => this.kept || this.look(null));
      box.element.addEventListener("focus", () => this.look(index));
      box.element.addEventListener("blur", () => this.kept || this.look(null));
      box.element.addEventListener("click", () => this.look(index, true));
    });
    this.section.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const target = event.target;
    if (event.altKey || event.ctrlKey || event.metaKey || target.closest("select, input[type='text'], .scroll")) return;
    const act = {
      ArrowRight: () => this.next(),
      ArrowLeft: () => this.go(this.position - 1),
      Home: () => this.go(0),
      End: () => this.go(this.last),
      " ": () => this.play(!this.playing),
    }[event.key];
    if (act && !(event.key === " " && target.closest("button, input, summary, a"))) {
      event.preventDefault();
      act();
    } else if (target.closest(".picture") && ["ArrowUp", "ArrowDown", "Enter"].includes(event.key)) {
      event.preventDefault();
      this.walkNodes(event.key);
    }
  }

  walkNodes(key) {
    const here = this.boxes.findIndex((box) => box.element === document.activeElement);
    if (key === "Enter") return here >= 0 && this.look(here, true);
    const to = here < 0 ? this.step.now : (here + (key === "ArrowUp" ? -1 : 1) + this.boxes.length) % this.boxes.length;
    this.boxes[to].element.focus();
  }
}

function make(tag, text = "", name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

function drawn(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// A number as people write it: half a unit of its last printed place is right, three digits are needed, or all.
function judged(typed, question, mistakes) {
  const plain = typed.replaceAll("−", "-").replace(/\s*[·×*]\s*10\s*\^\s*/, "e").replaceAll(" ", "");
  const parts = /^[-+]?(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?$/.exec(plain);
  if (!parts || !(parts[1] + parts[2])) return { kind: "unread", text: "Type a number, such as -0.25 or 2.5e-3." };
  const given = Number(plain);
  const half = 0.5 * 10 ** (Number(parts[3] ?? 0) - parts[2].length);
  const digits = (parts[1] + parts[2]).replace(/^0+/, "").length;
  const near = (number, rounding) => Math.abs(given - number) <= half * (1 + 1e-9) + rounding * Math.abs(number);
  if (given === question.expected) return { kind: "right", text: "Right." };
  const own = digits < 3 && question.near.some(([number]) => given === number); // not rounded, but a mistake's
  if (near(question.expected, 4e-16) && !own) {
    if (digits >= 3) return { kind: "right", text: `Right: ${question.shown}.` };
    return { kind: "unread", text: "Right as far as it goes: three significant digits are needed." };
  }
  const mistaken = (number) => given === number || (digits >= 3 && near(number, 1e-9)); // which has nine digits
  const told = question.near.filter(([number]) => mistaken(number)).map(([, place]) => mistakes[place]);
  return { kind: "wrong", text: told.length ? `Wrong. Perhaps ${told.slice(0, 3).join("; or ")}.` : "Wrong." };
}

// Links: #step=7, and with several players #step=7,3

const players = [];
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

function linked() {
  const found = /^#step=([\d,]+)$/.exec(location.hash);
  if (!found) return;
  found[1].split(",").forEach((text, index) => {
    if (text && players[index]) players[index].show(Number(text));
  });
}

function link() {
  try {
    history.replaceState(null, "", `#step=${players.map((player) => player.position).join(",")}`);
  } catch {
    // a frame without an address has no links
  }
}

function recolour() {
  const root = document.documentElement;
  const now = root.dataset.theme || (window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
}

for (const section of document.querySelectorAll("section.player")) players.push(new Player(section));
window.addEventListener("hashchange", linked);
window.addEventListener("beforeprint", () => players.forEach((player) => { player.find(".all").open = true; }));
linked();
