"use strict";
// All text reaches the page as text: nothing here makes HTML of a string.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 200, STRONG = 4; // attempts in the list at once; the gap, in nats, of the strongest colour
  const PASSED = 1, REVEALS = 2, PEER = 4, BROKEN = 8;
  const at = (id) => document.getElementById(id);
  const text = (number) => (number === null ? "" : data.texts[number]);

  const attempts = data.attempts.map((row, number) => {
    const [phase, generations, group, slot, task, actions, reward, outcome, feedback, bits, error, tokens] = row;
    return {
      number, phase: text(phase), generations, group, slot, task: data.tasks[task], id: text(data.tasks[task].id),
      actions, reward, outcome: text(outcome), feedback, bits, error: text(error), tokens, turns: data.turns[number],
      seen: data.seen[number],
    };
  });

  function make(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") made.className = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== ""));
    return made;
  }

  const kind = (one) => (one.bits & BROKEN ? "broken" : one.bits & PASSED ? "passed" : "failed");
  const number = (value) => (value === null ? "none" : String(Math.round(value * 1e4) / 1e4));
  const fact = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  const badge = (one) => make("span", { class: `outcome ${kind(one)}` }, one.outcome);

  // What is shown

  const form = at("filters");
  let found = attempts, page = 0, chosen = null;

  const haystacks = new Map();
  function haystack(one) {
    if (!haystacks.has(one.number)) {
      const told = (one.turns || []).flatMap((turn) => [turn.saw, turn.reads]);
      const turns = [...told, ...(one.seen || [])].map(text);
      const parts = [one.id, text(one.task.prompt), ...one.actions.map(text), text(one.feedback), one.error, ...turns];
      haystacks.set(one.number, parts.join("\n").toLowerCase());
    }
    return haystacks.get(one.number);
  }

  function fits(one, want) {
    const bits = (want.peer ? PEER : 0) | (want.reveals ? REVEALS : 0) | (want.broken ? BROKEN : 0);
    return (one.bits & bits) === bits
      && (!want.phase || one.phase === want.phase)
      && (!want.outcome || one.outcome === want.outcome)
      && (!want.task || one.id.toLowerCase().includes(want.task.toLowerCase()))
      && (!want.from || one.generations >= Number(want.from))
      && (!want.to || one.generations <= Number(want.to))
      && (!want.low || (one.reward !== null && one.reward >= Number(want.low)))
      && (!want.high || (one.reward !== null && one.reward <= Number(want.high)))
      && (!want.feedback || one.feedback !== null)
      && (!want.gap || Boolean(one.turns && one.turns.some((turn) => turn.teacher)))
      && (!want.turns || one.actions.length > 1)
      && (!want.text || haystack(one).includes(want.text.toLowerCase()));
  }

  const wanted = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));

  function filter() {
    const want = wanted();
    found = attempts.filter((one) => fits(one, want));
    page = 0;
    tell(); // before the list is scrolled, as the line takes room from it
    choose(found.includes(chosen) ? chosen : found[0] || null);
  }

  function tell() {
    const share = (some) => (found.length ? ` (${((100 * some) / found.length).toFixed(1)} %)` : "");
    const passed = found.filter((one) => one.bits & PASSED).length;
    const broken = found.filter((one) => one.bits & BROKEN).length;
    const written = (count) => count.toLocaleString("en");
    at("count").textContent = `${written(found.length)} of ${written(attempts.length)} attempts; `
      + `${written(passed)} passed${share(passed)}${broken ? `; ${written(broken)} broke` : ""}`;
  }

  // The list

  function list() {
    const shown = found.slice(page * PAGE, (page + 1) * PAGE);
    at("list").replaceChildren(...(shown.length ? shown.map(option) : [make("p", { class: "line" },
      "No attempt fits. Loosen the filters, or show all.")]));
    const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    const start = page * PAGE;
    at("page").textContent = shown.length ? `${start + 1} to ${start + shown.length} of ${found.length}` : "";
    at("back").disabled = page === 0;
    at("on").disabled = page >= last;
  }

  function option(one) {
    const where = `${one.phase} ${one.generations}`;
    const first = one.actions.map(text).join(" / ").trim().slice(0, 200).replaceAll("\n", " ");
    return make("div", { role: "option", id: `o${one.number}`, "aria-selected": "false", onclick: () => choose(one) },
      make("div", { class: "line" }, badge(one), make("span", {}, number(one.reward)),
        make("span", { class: "task" }, one.id), make("span", {}, where)),
      make("div", { class: "first" }, first || "(nothing)"));
  }

  function choose(one) {
    chosen = one;
    const place = found.indexOf(one);
    if (place >= 0) page = Math.floor(place / PAGE);
    list();
    const here = one && at(`o${one.number}`);
    if (here) {
      here.setAttribute("aria-selected", "true");
      at("list").setAttribute("aria-activedescendant", here.id);
      show(here);
    } else at("list").removeAttribute("aria-activedescendant");
    at("detail").replaceChildren(...(one ? detail(one) : []));
    at("detail").scrollTop = 0;
    const state = new URLSearchParams(wanted());
    if (one) state.set("attempt", one.number);
    history.replaceState(null, "", `#${state}`);
  }

  function show(row) { // within the list, without moving the page
    const list = at("list"), top = row.offsetTop, bottom = top + row.offsetHeight;
    if (Math.abs(top - list.scrollTop) > 2 * list.clientHeight) list.scrollTop = top - list.clientHeight / 3;
    else if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  }

  const move = (steps) => {
    if (!found.length) return;
    const place = Math.max(0, found.indexOf(chosen));
    choose(found[Math.min(found.length - 1, Math.max(0, place + steps))]);
  };

  // One attempt

  function* detail(one) {
    yield make("h2", {}, `${one.id}`);
    const facts = [[one.phase, `after ${one.generations} generations`], ["group", `${one.group}, attempt ${one.slot}`],
      ["reward", number(one.reward)], ...(one.tokens === null ? [] : [["tokens", String(one.tokens)]])];
    yield make("dl", {}, make("div", {}, badge(one)),
      ...facts.map(([name, value]) => fact(name, value)));
    if (one.bits & REVEALS) yield make("p", { class: "flag broken" }, "The feedback reveals the answer.");
    if (one.task.system !== null) yield fold("System prompt", text(one.task.system));
    if (one.task.prompt !== null) yield fold("Prompt", text(one.task.prompt), text(one.task.prompt).length < 1500);
    if (one.turns && one.turns.some((turn) => turn.teacher)) yield key();
    if (!one.actions.length) yield make("h3", {}, "No action was written.");
    for (const [place, action] of one.actions.entries()) yield* turn(one, place, action);
    if (one.error) { yield make("h3", {}, "What broke"); yield make("pre", { class: "broken" }, one.error); }
    if (one.feedback !== null) { yield make("h3", {}, "Feedback"); yield make("pre", {}, text(one.feedback)); }
    yield* siblings(one);
  }

  const key = () => make("p", { class: "key" }, "The self-teacher, who read more, finds a token ",
    make("i", { class: "less" }, "less likely"), " or ", make("i", { class: "more" }, "likelier"),
    " than the student did. Point at one to read by how much.");

  function* turn(one, place, action) {
    const scored = one.turns && one.turns[place];
    const saw = one.seen ? one.seen[place] ?? null : scored ? scored.saw : null;
    if (place > 0 && saw !== null) {
      yield make("h3", {}, "What it saw then");
      yield make("pre", {}, text(saw));
    }
    yield make("h3", {}, one.actions.length > 1 ? `Action ${place + 1}` : "Action");
    if (!scored || !scored.tokens.length) {
      yield make("pre", {}, text(action));
      return;
    }
    yield make("div", { class: "tokens", "aria-label": "The action by tokens" },
      ...scored.tokens.map((_, index) => token(scored, index)));
    if (!scored.teacher) yield make("p", { class: "key" }, "The self-teacher did not score this turn.");
    const read = scored.reads === null ? null : fold("What the self-teacher read instead", text(scored.reads));
    const tokens = make("details", {}, make("summary", {}, "Token by token"), table(scored));
    yield make("div", { class: "folds" }, tokens, read);
  }

  const gap = (scored, index) => {
    const student = scored.student[index], teacher = scored.teacher ? scored.teacher[index] : null;
    return student === null || teacher === null ? null : teacher - student;
  };
  const seen = (letters) => letters.replaceAll("\n", "↵\n").replaceAll("\t", "⇥\t") || "·";
  const chance = (nats) => {
    if (nats === null || nats === undefined) return "";
    const share = Math.exp(nats);
    return share < 0.001 ? share.toExponential(0) : share.toFixed(3);
  };
  const signed = (nats) => (Math.abs(nats) < 0.005 ? "0.00" : nats.toFixed(2));

  function token(scored, index) {
    const letters = text(scored.tokens[index]), apart = gap(scored, index);
    const both = apart === null ? [] : [scored.student[index], scored.teacher[index]].map(chance);
    const said = apart === null ? "" : `student ${both[0]}, teacher ${both[1]}, gap ${signed(apart)} nats`;
    const made = make("span", { title: `${JSON.stringify(letters)} ${said}` }, seen(letters));
    if (apart !== null && Math.abs(apart) > 0.05) {
      made.className = apart < 0 ? "less" : "more";
      made.style.setProperty("--much", (0.08 + 0.62 * Math.min(1, Math.abs(apart) / STRONG)).toFixed(3));
    }
    if (letters.startsWith("<|")) made.classList.add("mark");
    return made;
  }

  function table(scored) {
    const row = (name, cells) => make("tr", {}, ...cells.map((cell) => make(name, {}, cell)));
    const rows = scored.tokens.map((each, index) => {
      const apart = gap(scored, index), teacher = scored.teacher ? scored.teacher[index] : null;
      const numbers = [chance(scored.student[index]), chance(teacher), apart === null ? "" : signed(apart)];
      return row("td", [seen(text(each)), ...numbers]);
    });
    const head = row("th", ["token", "student", "teacher", "gap, nats"]);
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  }

  function fold(heading, body, open = false) {
    return make("details", { open: open ? "" : null }, make("summary", {}, heading), make("pre", {}, body));
  }

  function* siblings(one) {
    const group = attempts.filter((each) => each.phase === one.phase && each.group === one.group);
    if (group.length < 2) return;
    yield make("h3", {}, one.bits & PEER ? "Its group; it was handed one that passed" : "Its group");
    yield make("div", { class: "group" }, ...group.map((each) => make("button",
      { type: "button", "aria-current": each === one ? "true" : null, onclick: () => visit(each) },
      `${each.slot} `, badge(each))));
  }

  function visit(one) {
    if (!found.includes(one)) { form.reset(); found = attempts; tell(); }
    choose(one);
    at("detail").focus();
  }

  // Beginning

  function fill() {
    at("name").textContent = data.name;
    at("facts").append(...data.facts.map(([name, value]) => fact(name, value)));
    at("notes").append(...data.notes.map((note) => make("li", {}, note)));
    at("tasks").append(...data.tasks.map((task) => make("option", { value: text(task.id) })));
    for (const name of ["phase", "outcome"]) {
      const values = [...new Set(attempts.map((one) => one[name]))].sort();
      form.elements[name].append(...values.map((value) => make("option", { value }, value)));
    }
  }

  function restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const [name, value] of state) {
      const control = form.elements.namedItem(name);
      if (!(control instanceof HTMLInputElement || control instanceof HTMLSelectElement)) continue;
      if (control.type === "checkbox") control.checked = true;
      else control.value = value;
    }
    chosen = attempts[Number(state.get("attempt") ?? NaN)] || null;
  }

  let waiting = 0;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  form.addEventListener("reset", () => { clearTimeout(waiting); setTimeout(filter); });
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  const turnPage = (steps) => { const next = found[(page + steps) * PAGE]; if (next) choose(next); };
  at("back").addEventListener("click", () => turnPage(-1));
  at("on").addEventListener("click", () => turnPage(1));
  const KEYS = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
  at("list").addEventListener("keydown", (event) => {
    if (event.key === "Enter") at("detail").focus();
    else if (event.key in KEYS && !event.ctrlKey && !event.metaKey && !event.altKey) move(KEYS[event.key]);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !(event.target instanceof HTMLInputElement)) {
      form.elements.text.focus();
      event.preventDefault();
    } else if (event.key === "Escape") { // which would clear a search
      at("list").focus();
      event.preventDefault();
    }
  });
  fill();
  restore();
  filter();
})();
