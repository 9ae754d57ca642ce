// The inbox: draws what the event stream tells. Everything that came in is put in as text, never as markup.

const MOST_CARDS = 500;
const MOST_RECIPIENTS = 5;
const EXTENSION = new Set("\f^{}\\[~]|€"); // two septets each (3GPP TS 23.038, 6.2.1.1)
const LIMITS = { "gsm-7": { one: 160, part: 153, unit: "septets" }, "ucs-2": { one: 70, part: 67, unit: "units" } };
const OUTCOMES = {
  sent: "✓ sent",
  sent_dnd: "✓ sent by DND",
  delivered: "✓✓ delivered",
  rejected: "✕ rejected",
  dnd_rejected: "✕ DND rejected",
  left_out: "– left out",
  unlisted: "? unlisted code",
  conflicting: "? conflicting",
};
const NAMES = {
  fields: "Fields of a record",
  format: "Form of the answer",
  rejection: "A rejection reads",
  rejection_status: "HTTP status of a rejection",
  echo: "Numbers come back as",
  order: "Order of the records",
  invalid_numbers: "Invalid numbers are",
  duplicates: "Repeated numbers are",
  text: "Noise in the body",
  dnd_route: "DND route, number not on DND",
  recipient_limit: "Most recipients in a call",
  fault: "Fault on the wire",
};

const byId = (id) => document.getElementById(id);
const list = byId("list");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const cards = new Map(); // entry number -> { card, text, balance }, oldest first
let state = null;
let loaded = false; // what was there before the page came is no news

// --- a text, cut as it travels ---------------------------------------------------------------------------------------

export function cutIntoParts(text, encoding) {
  const limit = LIMITS[encoding];
  const weigh = (character) => (encoding === "gsm-7" ? (EXTENSION.has(character) ? 2 : 1) : character.length);
  const characters = Array.from(text);
  const whole = characters.reduce((sum, character) => sum + weigh(character), 0);
  if (whole <= limit.one) return [{ text, used: whole, most: limit.one, unit: limit.unit }];
  const parts = [];
  let part = null;
  for (const character of characters) {
    const weight = weigh(character);
    if (part === null || part.used + weight > limit.part) {
      part = { text: "", used: 0, most: limit.part, unit: limit.unit };
      parts.push(part);
    }
    part.text += character;
    part.used += weight;
  }
  return parts;
}

// --- cards -----------------------------------------------------------------------------------------------------------

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

function drawText(card, entry) {
  const parts = cutIntoParts(entry.message, entry.encoding);
  const bubbles = card.querySelector(".bubbles");
  const fill = element("div", "fill");
  bubbles.dataset.parts = parts.length;
  parts.forEach((part, index) => {
    const bubble = element("p", "bubble", part.text);
    const label = `Part ${index + 1} of ${parts.length}: ${part.used} of ${part.most} ${part.unit}`;
    if (parts.length > 1) bubble.append(element("span", "part", label));
    bubbles.append(bubble);
    const bar = element("progress");
    bar.max = part.most;
    bar.value = part.used;
    bar.title = label;
    bar.setAttribute("aria-label", label);
    fill.append(bar);
  });
  bubbles.append(fill);
}

function drawDeliveries(card, entry) {
  const place = card.querySelector(".deliveries");
  const draw = (delivery) => {
    const row = byId("delivery").content.cloneNode(true);
    row.querySelector(".number").textContent = delivery.recipient;
    const outcome = row.querySelector(".outcome");
    outcome.dataset.outcome = delivery.outcome;
    outcome.textContent = OUTCOMES[delivery.outcome] ?? delivery.outcome;
    row.querySelector(".rule").textContent = delivery.rule;
    return row;
  };
  place.append(...entry.deliveries.slice(0, MOST_RECIPIENTS).map(draw));
  const rest = entry.deliveries.slice(MOST_RECIPIENTS);
  if (rest.length > 0) {
    const more = element("li", "more");
    const button = element("button", "quiet", `Show ${count(rest.length, "more recipient", "more recipients")}`);
    button.type = "button";
    button.addEventListener("click", () => {
      const rows = rest.map(draw);
      const first = rows[0].firstElementChild;
      more.replaceWith(...rows);
      first.tabIndex = -1;
      first.focus();
    });
    more.append(button);
    place.append(more);
  }
  if (entry.deliveries.length === 0) place.remove();
}

function describe(entry) {
  if (entry.fault) return ["fault", `On the wire: ${entry.fault.replaceAll("_", " ")} (${entry.fault_rule})`];
  if (entry.result === "processed") return ["", ""];
  if (entry.result === "balance") return ["plain", `Balance asked: ${entry.answer}`];
  return ["refused", `Not processed: ${entry.result} (${entry.rule})`];
}

function drawVerdict(card, entry) {
  const verdict = card.querySelector(".verdict");
  const [kind, text] = describe(entry);
  verdict.dataset.kind = kind;
  verdict.textContent = text;
  if (!text) verdict.remove();
}

function hue(name) {
  return Array.from(name).reduce((sum, character) => (sum * 31 + character.codePointAt(0)) % 6, 0);
}

function drawHead(card, entry) {
  const balance = entry.route === "balance";
  const sender = entry.sender || (balance ? "Balance" : "(no sender)");
  const avatar = card.querySelector(".avatar");
  avatar.textContent = Array.from(sender).slice(0, 2).join("").toUpperCase();
  avatar.dataset.hue = hue(sender);
  card.querySelector(".sender").textContent = sender;
  const time = card.querySelector(".time");
  time.dateTime = entry.at;
  time.textContent = clock.format(new Date(entry.at));
  const account = card.querySelector(".account");
  account.textContent = entry.account || "no such account";
  if (state.accounts.length === 1) account.remove();
  card.querySelector(".route").textContent = entry.route === "unknown" ? `${entry.method} ${entry.path}` : entry.route;
  const written = entry.message !== "";
  card.querySelector(".encoding").textContent = entry.encoding.toUpperCase();
  card.querySelector(".parts").textContent = count(entry.segments, "part", "parts");
  if (!written) card.querySelectorAll(".encoding, .parts").forEach((chip) => chip.remove());
  if (written) drawText(card, entry);
}

function draw(entry) {
  const card = byId("card").content.cloneNode(true).firstElementChild;
  card.dataset.number = entry.number;
  drawHead(card, entry);
  drawVerdict(card, entry);
  drawDeliveries(card, entry);
  card.querySelector("pre").textContent = `HTTP ${entry.status}\n\n${entry.answer}`;
  return card;
}

function searchable(entry) {
  const outcomes = entry.deliveries.flatMap((delivery) => [delivery.recipient, delivery.outcome, delivery.code]);
  const words = [entry.account, entry.sender, entry.message, entry.route, entry.result, entry.fault ?? "", ...entry.recipients, ...outcomes];
  return words.join("\n").toLowerCase();
}

function take(entries) {
  const fresh = entries.filter((entry) => !cards.has(entry.number));
  for (const entry of fresh) {
    const card = draw(entry);
    if (loaded) card.classList.add("new");
    cards.set(entry.number, { card, text: searchable(entry), balance: entry.route === "balance" });
    list.prepend(card);
  }
  for (const number of Array.from(cards.keys()).slice(0, Math.max(0, cards.size - MOST_CARDS))) drop(number);
  if (loaded) announce(fresh.filter((entry) => entry.route !== "balance"));
  loaded = true;
  filter();
}

function drop(number) {
  cards.get(number).card.remove();
  cards.delete(number);
}

function announce(entries) {
  if (entries.length === 0) return;
  const entry = entries.at(-1);
  const outcome = describe(entry)[1] || entry.deliveries.map((delivery) => delivery.outcome.replace("_", " ")).join(", ");
  const last = `From ${entry.sender || "nobody"} to ${count(entry.recipients.length, "recipient", "recipients")}: ${outcome}`;
  byId("news").textContent = entries.length === 1 ? last : `${entries.length} new messages. The last: ${last}`;
}

function filter() {
  const wanted = byId("search").value.trim().toLowerCase();
  const balances = byId("balance-calls").checked;
  let shown = 0;
  for (const { card, text, balance } of cards.values()) {
    card.hidden = (balance && !balances) || !text.includes(wanted);
    if (!card.hidden) shown += 1;
  }
  const any = Array.from(cards.values()).some(({ balance }) => balances || !balance);
  byId("shown").textContent = wanted ? `${shown} found` : count(shown, "message", "messages");
  byId("empty").hidden = any;
  byId("no-match").hidden = !any || shown > 0;
}

// --- switches --------------------------------------------------------------------------------------------------------

const chosen = () => state.accounts.find(({ name }) => name === byId("account").value) ?? state.accounts[0];
const effective = (name) => (name in chosen().set ? chosen().set[name].value : state.switches[name]);

async function ask(method, path, body) {
  const trouble = byId("trouble");
  try {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    const content = await answer.json();
    trouble.hidden = answer.ok;
    if (!answer.ok) trouble.textContent = content.error;
    else if (path !== "/magic") show(content);
    return answer.ok ? content : null;
  } catch {
    trouble.textContent = "The sandbox does not answer.";
    trouble.hidden = false;
    return null;
  }
}

function change(name, value) {
  const calls = byId("calls").value;
  return ask("POST", "/behaviours", { account: chosen().name, [name]: value, on: byId("on").value, ...(calls ? { calls: Number(calls) } : {}) });
}

function left(setting) {
  if (setting === undefined) return "as at the start";
  const where = { sends: "", balance: " (balance)", all: " (all paths)" }[setting.on];
  return (setting.calls_left === null ? "until switched off" : count(setting.calls_left, "call left", "calls left")) + where;
}

function showToggles() {
  for (const button of document.querySelectorAll(".toggles button")) {
    const name = button.dataset.switch ?? "fault";
    const value = effective(name);
    const on = button.dataset.fault ? value?.kind === button.dataset.fault : value === true;
    button.setAttribute("aria-pressed", String(on));
    button.querySelector(".toggle-left").textContent = on ? left(chosen().set[name]) : "";
  }
}

function showSettings() {
  for (const control of document.querySelectorAll("[data-name]")) {
    const name = control.dataset.name;
    const value = effective(name);
    control.dataset.changed = String(name in chosen().set);
    if (control !== document.activeElement || control.tagName === "SELECT") {
      control.value = value === null ? "" : String(value.kind ?? value);
    }
  }
}

function show(told) {
  if (state === null) buildSettings(told);
  if (state !== null && state.started !== told.started) Array.from(cards.keys()).forEach(drop);
  state = told;
  showAccounts();
  byId("total").textContent = told.total;
  for (const number of Array.from(cards.keys())) if (number < told.first || number > told.total) drop(number);
  showToggles();
  showSettings();
  filter();
}

function showAccounts() {
  const choice = byId("account");
  if (choice.options.length !== state.accounts.length) {
    choice.replaceChildren(...state.accounts.map(({ name, username }) => option(name, `${name} (${username})`)));
  }
  const several = state.accounts.length > 1;
  byId("account-choice").hidden = !several;
  byId("units").textContent = state.accounts.map(({ name, units }) => (several ? `${name} ${units}` : units)).join(" · ");
}

function option(value, text) {
  const made = element("option", "", text);
  made.value = value;
  return made;
}

function addSetting(name, control) {
  control.id = `switch-${name}`;
  control.dataset.name = name;
  const label = element("label", "", NAMES[name] ?? name);
  label.htmlFor = control.id;
  byId("settings").append(label, control);
  return control;
}

function buildSettings(told) {
  byId("tg").append(option("", "what fits"), ...told.codes.map((code) => option(code, code)));
  byId("tg").addEventListener("change", (event) => change("tg", event.target.value || null));
  for (const [name, choices] of Object.entries(told.choices)) {
    const control = addSetting(name, element("select"));
    if (told.switches[name] === null) control.append(option("", "none"));
    control.append(...choices.map((choice) => option(String(choice), String(choice).replaceAll("_", " "))));
    const number = typeof choices[0] === "number";
    control.addEventListener("change", () => change(name, number ? Number(control.value) : control.value || null));
  }
  for (const name of ["rejection_status", "recipient_limit"]) {
    const control = addSetting(name, element("input"));
    control.type = "number";
    control.min = 1;
    control.addEventListener("change", () => change(name, control.valueAsNumber));
  }
}

async function showMagic() {
  const magic = await ask("GET", "/magic");
  if (magic === null) return;
  const rows = magic.recipients.map(({ recipient, does }) => [recipient, does]);
  rows.push([`sender ${magic.sender}`, "TG18: blocked sender"], [`text with ${magic.word}`, "TG19: blocked word"]);
  for (const [send, does] of rows) {
    const row = element("tr");
    row.append(element("td", "", send), element("td", "", does));
    byId("magic").append(row);
  }
}

// --- start -----------------------------------------------------------------------------------------------------------

function connect() {
  const events = new EventSource("/events");
  const tell = (kind, text) => {
    byId("live").dataset.state = kind;
    byId("live").textContent = text;
  };
  events.addEventListener("open", () => tell("live", "live"));
  events.addEventListener("error", () => tell("lost", "lost, trying again"));
  events.addEventListener("entries", (event) => take(JSON.parse(event.data)));
  events.addEventListener("state", (event) => show(JSON.parse(event.data)));
}

for (const button of document.querySelectorAll(".toggles button")) {
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") === "true";
    if (button.dataset.fault) change("fault", on ? null : button.dataset.fault);
    else change(button.dataset.switch, !on);
  });
}
byId("setting").textContent = `[smsclone]\nbase_url = "${location.origin}"`;
byId("search").addEventListener("input", filter);
byId("balance-calls").addEventListener("change", filter);
byId("clear").addEventListener("click", () => ask("DELETE", "/ledger"));
byId("reset").addEventListener("click", () => ask("DELETE", "/behaviours"));
byId("units-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask("POST", "/behaviours", { account: chosen().name, units: byId("units-input").value });
});
byId("password-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask("POST", "/behaviours", { account: chosen().name, password: byId("password-input").value });
  event.target.reset();
});
byId("account").addEventListener("change", () => show(state));
showMagic();
connect();
