// The operator's console. Everything that comes from the relay is put in as text, never as markup; the key lives in the
// one variable below and goes nowhere but into the Authorization header of calls to this relay.

const POLL_MS = 5_000;
const IDLE_MS = 30 * 60_000; // without a key press or click: the key is forgotten
const LAGOS = "Africa/Lagos"; // one hour ahead of UTC, all year
const STATUS = {
  sent: "sent", partial: "partial", rejected: "rejected", unknown: "unknown", not_sent: "not sent", queued: "queued",
  in_progress: "in progress", delivered: "delivered",
};
const EVENTS = {
  accepted: "Accepted", held: "Held", claimed: "Claimed", dialled: "Called smsclone", answered: "Answered", settled: "Settled",
  resent: "Sent again", called_back: "Called back", scheduled: "Scheduled", moved: "Moved", cancelled: "Cancelled", erased: "Erased",
};
const BREAKER = { closed: "can send", half_open: "trying", open: "stopped" };
const WHY_STOPPED = { open: "The breaker is open: smsclone does not answer, or refuses the relay.", half_open: "The breaker is half open: one send at a time until one is answered." };

let key = null;
let view = "now";
let poll = 0;
let idle = 0;
let lastNow = null;

// --- small things ----------------------------------------------------------------------------------------------------

const byId = (id) => document.getElementById(id);

function h(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) {
    if (property === "data") Object.assign(made.dataset, value);
    else if (property.startsWith("on")) made.addEventListener(property.slice(2), value);
    else if (property in made && property !== "list") made[property] = value;
    else made.setAttribute(property, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

const say = (value) => String(value).replaceAll("_", " ");
const count = (number, one, many) => `${grouped(number)} ${Number(number) === 1 ? one : many}`;
const grouped = (number) => Number(number).toLocaleString("en", { maximumFractionDigits: 2 });
const units = (number) => Number(number).toLocaleString("en", { minimumFractionDigits: Number.isInteger(Number(number)) ? 0 : 2, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: LAGOS, hour: "2-digit", minute: "2-digit", second: "2-digit" });
const calendar = new Intl.DateTimeFormat("en-GB", { timeZone: LAGOS, day: "2-digit", month: "short", year: "numeric" });
const isoDay = new Intl.DateTimeFormat("sv-SE", { timeZone: LAGOS, year: "numeric", month: "2-digit", day: "2-digit" });

function moment(text, withDay = true) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return h("span", {}, String(text));
  const shown = withDay && isoDay.format(at) !== isoDay.format(new Date()) ? `${calendar.format(at)}, ${clock.format(at)}` : clock.format(at);
  return h("time", { dateTime: text, title: `${text} (shown in the time of Lagos)` }, shown);
}

function age(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(Number(seconds))) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

const since = (text) => (Date.now() - new Date(text).getTime()) / 1000;
const lagosTime = (local) => (local ? `${local}:00+01:00` : "");

function pill(word, kind) {
  return h("span", { className: "outcome", data: { outcome: kind ?? word } }, STATUS[word] ?? say(word));
}

function trouble(text) {
  byId("trouble").textContent = text;
  byId("trouble").hidden = text === "";
}

function announce(text) {
  byId("news").textContent = text;
}

// --- calls -----------------------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, problem) {
    const fields = (problem?.errors ?? []).map((error) => `${error.field}: ${error.message}`);
    super([problem?.detail ?? problem?.title ?? `The relay answered with HTTP ${status}.`, ...fields].join(" "));
    this.status = status;
    this.code = problem?.code;
  }
}

async function call(method, path, { body, query = {}, with: by = key, accept = "application/json" } = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const headers = { Authorization: `Bearer ${by}`, Accept: accept };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(asked.size ? `${path}?${asked}` : path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store", credentials: "omit",
      referrerPolicy: "no-referrer", redirect: "error",
    });
  } catch {
    throw new Refused(0, { detail: "The relay does not answer." });
  }
  if (answer.ok && accept !== "application/json") return answer.text();
  const content = await answer.json().catch(() => null);
  if (answer.ok) return content;
  if (answer.status === 401 && by === key && key !== null) signOut("The relay no longer accepts this key.");
  throw new Refused(answer.status, content);
}

const operator = (path) => `/v1/operator/${path}`;

/** Runs something that may be refused, and says why where it was. */
async function attempt(work) {
  try {
    trouble("");
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (key !== null) trouble(error.message);
    return null;
  }
}

// --- the session -----------------------------------------------------------------------------------------------------

async function signIn(event) {
  event.preventDefault();
  const given = byId("key").value.trim();
  byId("sign-in-trouble").textContent = "";
  try {
    // Any operator may ask for this, and it is no look-up of somebody's notification.
    await call("GET", operator("unknown"), { query: { limit: 1 }, with: given });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const why = { 401: "The relay does not know this key.", 403: "This key's client has no permission “operate”." };
    byId("sign-in-trouble").textContent = why[error.status] ?? error.message;
    return;
  }
  key = given;
  byId("sign-in").reset();
  byId("sign-in").hidden = true;
  byId("session").hidden = byId("views").hidden = false;
  stayAwake();
  show(location.hash.slice(1));
}

function signOut(why = "") {
  key = lastNow = null;
  clearTimeout(poll);
  clearTimeout(idle);
  if (byId("act").open) byId("act").close("");
  for (const id of ["accounts", "queue", "open-unknown", "refusals", "places", "pauses", "find-results", "unknown-rows", "usage-content", "audit-rows", "detail"]) {
    byId(id).replaceChildren();
  }
  for (const form of ["find-form", "unknown-form"]) byId(form).reset();
  for (const part of document.querySelectorAll("main > section")) part.hidden = true;
  byId("detail").hidden = byId("session").hidden = byId("views").hidden = true;
  byId("find-tally").textContent = byId("unknown-tally").textContent = byId("place").textContent = "";
  byId("sign-in").hidden = false;
  trouble("");
  byId("sign-in-trouble").textContent = why;
  byId("key").focus();
}

function stayAwake() {
  clearTimeout(idle);
  if (key !== null) idle = setTimeout(() => signOut("The key was forgotten after 30 minutes without use."), IDLE_MS);
}

// --- acts: what changes something, and what asks for the key again ------------------------------------------------------

/**
 * Ask before something is done. Resolves to the fields' values, or to null where the operator thought better of it.
 * With `again` the key has to be typed once more.
 */
function act({ title, text = [], fields = [], again = false, confirm, danger = false }) {
  const dialog = byId("act");
  const inputs = new Map();
  const rows = fields.map(({ name, label, options, long, hint, ...rest }) => {
    const made = h(options ? "select" : long ? "textarea" : "input", { autocomplete: "off", spellcheck: false, ...rest },
      ...(options ?? []).map(([value, shown]) => h("option", { value }, shown)));
    inputs.set(name, made);
    return h("label", {}, label, made, hint ? h("span", { className: "hint" }, hint) : null);
  });
  const typed = h("input", { type: "password", autocomplete: "off", required: true, placeholder: "rk_…" });
  const wrong = h("p", { className: "field-trouble", role: "alert" });
  const proof = again ? h("label", { className: "again" }, "Your key again", typed) : null;
  const cancel = h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel");
  const go = h("button", { type: "submit", className: danger ? "danger" : "primary" }, confirm);
  const form = h("form", { method: "dialog" }, h("h2", { id: "act-title" }, title), ...text.map((line) => h("p", {}, line)),
    ...rows, proof, wrong, h("div", { className: "actions" }, cancel, go));
  const back = document.activeElement;
  dialog.replaceChildren(form);
  return new Promise((resolve) => {
    let values = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (again && typed.value.trim() !== key) {
        wrong.textContent = "This is not the key that this session began with.";
        typed.select();
        return;
      }
      values = Object.fromEntries([...inputs].map(([name, input]) => [name, input.value.trim()]));
      dialog.close("done");
    });
    dialog.addEventListener("close", () => {
      typed.value = "";
      dialog.replaceChildren();
      back?.focus?.();
      resolve(key === null ? null : values);
    }, { once: true });
    dialog.showModal();
    (inputs.values().next().value ?? (again ? typed : cancel)).focus();
  });
}

const REASON = { name: "reason", label: "Reason", required: true, maxLength: 200, placeholder: "what you saw, and where", hint: "It is kept in the audit. No numbers, please." };

// --- views -----------------------------------------------------------------------------------------------------------

const VIEWS = { now: openNow, find: openFind, unknown: openUnknown, usage: openUsage, audit: openAudit };

function show(name, { focus = true, about } = {}) {
  if (key === null) return;
  view = name in VIEWS ? name : "now";
  if (view !== "find" && byId("detail").dataset.full) closeDetail(); // whole numbers stay no longer than they are looked at
  for (const part of document.querySelectorAll("main > section")) part.hidden = part.id !== view;
  for (const button of document.querySelectorAll("#views button")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (location.hash.slice(1) !== view) history.replaceState(null, "", `#${view}`);
  document.title = `${view[0].toUpperCase()}${view.slice(1)} · Relay console`;
  trouble("");
  if (focus) byId(`${view}-title`).focus({ preventScroll: true });
  clearTimeout(poll);
  VIEWS[view](about);
  if (view !== "now") tell("waiting", "");
}

function tell(state, text) {
  byId("live").dataset.state = state;
  byId("live").textContent = text;
  byId("live").hidden = text === "";
  if (state !== "live") byId("updated").textContent = "";
}

// --- now -------------------------------------------------------------------------------------------------------------

async function openNow() {
  clearTimeout(poll);
  if (key === null || view !== "now") return;
  if (document.visibilityState !== "visible") return tell("waiting", "stopped while nobody looks");
  try {
    const now = await call("GET", operator("now"));
    const stopped = now.pauses.filter((pause) => pause.account && !pause.client && !pause.message_type).map((pause) => pause.account);
    for (const account of now.accounts) account.paused = stopped.includes(account.account);
    if (key === null || view !== "now" || document.visibilityState !== "visible") return;
    lastNow = now;
    drawNow(now);
    tell("live", "live");
    byId("updated").replaceChildren("at ", moment(now.at ?? new Date().toISOString(), false));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (key === null) return;
    tell("lost", error.status === 0 ? "no answer, trying again" : error.message);
    if (error.status === 0) drawVerdict({ kind: "bad", word: "The relay does not answer", why: ["This page tries again every 5 seconds. What it shows below is old."] });
  }
  if (key !== null && view === "now") poll = setTimeout(openNow, POLL_MS);
}

/** Whether messages go out at all, and if not, why: the first thing that has to be seen. */
function judge(now) {
  const accounts = now.accounts;
  const everything = now.pauses.filter((pause) => !pause.client && !pause.message_type && !pause.account);
  const usable = accounts.filter((account) => account.breaker !== "open" && !account.paused && Number(account.units ?? 1) > 0);
  if (now.journal !== "ok") return { kind: "bad", word: "Nothing is accepted", why: [`The journal cannot be used: ${say(now.journal)}.`] };
  if (now.draining) return { kind: "odd", word: "This replica is stopping", why: ["Others take its requests."] };
  if (everything.length) return { kind: "odd", word: "Paused", why: [`By ${who(everything[0])}: ${everything[0].reason || "no reason given"}`] };
  if (accounts.length && !usable.length) return { kind: "bad", word: "Nothing can be sent", why: accounts.map((account) => `${account.account}: ${whyNot(account)}`) };
  const limping = accounts.filter((account) => !usable.includes(account) || account.breaker === "half_open");
  if (limping.length) return { kind: "odd", word: "Sending, but not by every account", why: limping.map((account) => `${account.account}: ${whyNot(account)}`) };
  if (now.pauses.length) return { kind: "odd", word: "Sending, with exceptions", why: [`${count(now.pauses.length, "pause is", "pauses are")} in force, see below.`] };
  return { kind: "good", word: "Messages can be sent", why: [now.word_lists !== "ok" ? `The word lists could not be read again: ${say(now.word_lists)}.` : ""] };
}

const whyNot = (account) => (account.paused ? "paused" : Number(account.units ?? 1) <= 0 ? "no units left" : WHY_STOPPED[account.breaker] ?? say(account.breaker ?? "not known"));
const who = (pause) => [pause.by, pause.key].filter(Boolean).join(", key ") || "somebody";

function drawVerdict({ kind, word, why }) {
  const verdict = byId("verdict");
  if (verdict.dataset.kind !== kind && verdict.dataset.kind !== "waiting") announce(word);
  verdict.dataset.kind = kind;
  verdict.querySelector(".verdict-word").textContent = word;
  verdict.querySelector(".verdict-why").textContent = why.filter(Boolean).join(" ");
}

function drawNow(now) {
  byId("place").textContent = `${location.host} · relay ${now.version}`;
  drawVerdict(judge(now));
  keepFocus(byId("pauses"), now.pauses.map(drawPause));
  byId("accounts").replaceChildren(...now.accounts.map(drawAccount));
  drawQueue(now.queue);
  drawOpen(now.unknown);
  bars(byId("refusals"), now.refusals.map(({ code, count: value }) => ({ name: code, value, kind: "bad" })), "Nothing was refused.");
  bars(byId("places"), now.places.map(({ client, in_use }) => ({ name: client, value: in_use })), "Nobody is sending at the moment.", now.max_places);
  badge(now.unknown.open);
}

/** Draw again without losing the button that has the focus. */
function keepFocus(place, children) {
  const label = place.contains(document.activeElement) ? document.activeElement.textContent : null;
  place.replaceChildren(...children);
  if (label !== null) [...place.querySelectorAll("button")].find((button) => button.textContent === label)?.focus();
}

function badge(open) {
  byId("unknown-badge").hidden = !open;
  byId("unknown-badge").textContent = open ? grouped(open) : "";
}

function scope(pause) {
  const parts = [pause.client && `client ${pause.client}`, pause.message_type && `type ${pause.message_type}`, pause.account && `account ${pause.account}`].filter(Boolean);
  return parts.length ? parts.join(", ") : "all sending";
}

function drawPause(pause) {
  return h("div", { className: "pause" },
    h("p", {}, h("strong", {}, `Paused: ${scope(pause)}`), ` by ${who(pause)}`, pause.since ? [", since ", moment(pause.since)] : "",
      pause.until ? [", until ", moment(pause.until)] : ", until somebody resumes it", ". ", h("bdi", {}, pause.reason ?? "")),
    h("button", { type: "button", onclick: () => resume(pause) }, `Resume ${scope(pause)}…`));
}

function drawAccount(account) {
  const kind = account.breaker === "open" || Number(account.units ?? 1) <= 0 ? "bad" : account.paused || account.breaker === "half_open" ? "unknown" : "good";
  const word = account.paused ? "paused" : Number(account.units ?? 1) <= 0 ? "no units" : BREAKER[account.breaker] ?? say(account.breaker ?? "not known");
  const facts = [
    ["units", account.units === null || account.units === undefined ? "–" : units(account.units)],
    ["hours left", account.hours_left === null || account.hours_left === undefined ? "–" : grouped(Math.floor(account.hours_left))],
    ["calls out", grouped(account.in_flight)],
  ];
  return h("div", { className: "account" },
    h("div", { className: "account-head" }, h("span", { className: "account-name" }, account.account), h("span", { className: "outcome", data: { outcome: kind } }, word)),
    h("dl", { className: "numbers" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("p", { className: "hint" }, account.read_at ? ["Balance read at ", moment(account.read_at)] : "The balance has not been read yet."));
}

function drawQueue(queue) {
  const rows = queue.filter((each) => each.count).map((each) => ({
    name: say(each.state), value: each.count,
    kind: each.state === "queued" ? (each.oldest_seconds > 300 ? "odd" : "") : "calm",
    note: each.oldest_seconds === null || each.oldest_seconds === undefined ? "" : `the oldest waits for ${age(each.oldest_seconds)}`,
  }));
  bars(byId("queue"), rows, "Nothing waits.");
}

function drawOpen({ open, oldest_at, last_hour }) {
  const fresh = last_hour ? `; ${count(last_hour, "outcome", "outcomes")} became unknown here in the last hour` : "";
  const told = open === null ? "The journal cannot say it now" : open ? `${open === 1 ? "recipient" : "recipients"}, open for up to ${age(since(oldest_at))}` : "Every outcome is known";
  keepFocus(byId("open-unknown"), [
    h("p", { className: "big" }, open === null ? "–" : grouped(open)),
    h("p", { className: "hint" }, `${told}${fresh}.`),
    open ? h("p", {}, h("button", { type: "button", className: "link", onclick: () => show("unknown") }, "Settle them")) : "",
  ]);
}

function bars(place, rows, nothing, most = 0) {
  const top = Math.max(most || 0, ...rows.map((row) => Number(row.value)), 1);
  place.replaceChildren(rows.length === 0 ? h("p", { className: "nothing" }, nothing) : h("ul", { className: "bars" }, rows.map((row) =>
    h("li", { data: { kind: row.kind ?? "" } }, h("span", { className: "name" }, row.name), h("span", { className: "value" }, row.shown ?? grouped(row.value)),
      svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: (100 * Number(row.value)) / top, height: 8 })),
      row.note ? h("span", { className: "note" }, row.note) : null))));
}

async function pause() {
  const accounts = (lastNow?.accounts ?? []).map(({ account }) => [account, account]);
  const values = await act({
    title: "Pause sending", danger: true, confirm: "Pause",
    text: ["Synchronous requests get 503 and are safe to repeat; asynchronous ones wait. Calls that are out are finished."],
    fields: [
      REASON,
      { name: "for", label: "For how long", options: [["15m", "15 minutes"], ["1h", "1 hour"], ["4h", "4 hours"], ["24h", "24 hours"], ["", "until somebody resumes it"]] },
      { name: "client", label: "Only this client", placeholder: "all clients" },
      { name: "message_type", label: "Only this message type", options: [["", "all types"], ["otp", "otp"], ["alert", "alert"], ["transactional", "transactional"], ["promotional", "promotional"]] },
      { name: "account", label: "Only this account", options: [["", "all accounts"], ...accounts] },
    ],
  });
  if (values === null) return;
  const body = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
  if (await attempt(() => call("POST", operator("pause"), { body }))) announce("Paused");
  openNow();
}

async function resume(paused) {
  const values = await act({ title: `Resume ${scope(paused)}?`, confirm: "Resume", text: [`It was paused by ${who(paused)}: ${paused.reason ?? ""}`, "What waits goes out at once: codes and alerts first, clients in turns."] });
  if (values === null) return;
  const body = Object.fromEntries(["client", "message_type", "account"].filter((name) => paused[name]).map((name) => [name, paused[name]]));
  if (await attempt(() => call("POST", operator("resume"), { body }))) announce("Resumed");
  openNow();
}

// --- find ------------------------------------------------------------------------------------------------------------

const found = { query: null, cursor: null, shown: 0 };

function openFind() {
  if (!byId("find-from").value) byId("find-from").value = `${isoDay.format(new Date())}T00:00`;
  byId("find-what").focus();
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Which field of the list a text fits best. */
function fieldOf(what) {
  if (/^\+?[0-9 ().-]{7,20}$/.test(what) && what.replace(/\D/g, "").length <= 15) return "recipient";
  return /^[0-9]{16,}$/.test(what) ? "message_id" : "reference";
}

async function search(event) {
  event.preventDefault();
  const what = byId("find-what").value.trim();
  closeDetail();
  byId("find-results").replaceChildren();
  byId("find-more").hidden = true;
  if (ID.test(what) && !byId("find-field").value) {
    byId("find-tally").textContent = "";
    return openDetail(what.toLowerCase());
  }
  const query = { created_from: lagosTime(byId("find-from").value), created_to: lagosTime(byId("find-to").value), client: byId("find-client").value.trim(), status: byId("find-status").value };
  if (what) query[byId("find-field").value || fieldOf(what)] = what;
  Object.assign(found, { query, cursor: null, shown: 0 });
  await findMore();
}

async function findMore() {
  const page = await attempt(() => call("GET", operator("notifications"), { query: { ...found.query, expand: "recipients", limit: 20, cursor: found.cursor } }));
  if (page === null) return;
  found.cursor = page.next_cursor ?? null;
  found.shown += page.items.length;
  byId("find-results").append(...page.items.map(drawResult));
  byId("find-more").hidden = found.cursor === null;
  byId("find-tally").textContent = found.shown === 0 ? "Nothing was found. Widen the time, or look in another field." : `${count(found.shown, "notification", "notifications")}${found.cursor === null ? "" : ", and older ones"}`;
}

const numberOf = (recipient) => recipient.recipient ?? recipient.input ?? "erased";

function people(notification, most = 3) {
  const all = notification.recipients ?? [];
  const shown = all.slice(0, most).map((each) => `${numberOf(each)} ${STATUS[each.status] ?? each.status}${each.code && each.code !== each.status ? ` (${each.code})` : ""}`);
  if (all.length > most) shown.push(`and ${all.length - most} more`);
  return shown.length ? shown.join(", ") : Object.entries(notification.counts ?? {}).filter(([, value]) => value).map(([name, value]) => `${value} ${STATUS[name] ?? say(name)}`).join(", ");
}

function drawResult(item) {
  const line = [item.message_type, item.sender, item.route?.used, item.reference].filter(Boolean).join(" · ");
  return h("li", { className: "result", data: { id: item.id } }, pill(item.status),
    h("div", { className: "result-main" },
      h("div", { className: "result-head" }, moment(item.created_at), h("strong", {}, item.client ?? "")),
      h("span", { className: "soft" }, line), h("span", { className: "mono" }, people(item))),
    h("span", { className: "actions" }, h("button", { type: "button", "aria-label": `Open ${item.id}`, onclick: () => openDetail(item.id) }, "Open")));
}

function closeDetail() {
  byId("detail").hidden = true;
  byId("detail").replaceChildren();
  delete byId("detail").dataset.full;
  document.querySelector(".split").classList.remove("open");
  for (const row of document.querySelectorAll(".result[data-open]")) delete row.dataset.open;
}

function leaveDetail(id) {
  closeDetail();
  const row = [...document.querySelectorAll("#find-results .result")].find((each) => each.dataset.id === id);
  (row?.querySelector("button") ?? byId("find-what")).focus();
}

/** One notification and what happened to it, from the first to the last. */
async function openDetail(id, full = false) {
  if (view !== "find") show("find", { focus: false });
  const query = full ? { numbers: "full" } : {};
  const loaded = await attempt(() => Promise.all([
    call("GET", operator(`notifications/${id}`), { query }),
    call("GET", operator(`notifications/${id}/timeline`)),
  ]));
  if (loaded === null) return;
  const [notification, timeline] = loaded;
  closeDetail();
  for (const row of document.querySelectorAll(".result")) if (row.dataset.id === id) row.dataset.open = "true";
  document.querySelector(".split").classList.add("open");
  const title = h("h3", { id: "detail-title", tabIndex: -1 }, notification.reference || notification.id);
  const unknown = (notification.recipients ?? []).some((each) => each.status === "unknown" && !each.resent_as);
  byId("detail").replaceChildren(
    h("div", { className: "detail-head" }, h("div", {}, title, pill(notification.status)), h("button", { type: "button", className: "quiet", onclick: () => leaveDetail(id) }, "Close")),
    pairs([
      ["id", h("code", {}, notification.id)], ["client", notification.client], ["type", notification.message_type], ["sender", notification.sender],
      ["route", route(notification.route)], ["text", text(notification.text)], ["billing code", notification.billing_code],
      ["accepted", moment(notification.created_at)], ["ended", notification.completed_at ? moment(notification.completed_at) : "not yet"],
    ]),
    h("h4", {}, count((notification.recipients ?? []).length, "recipient", "recipients")),
    h("ul", { className: "people" }, (notification.recipients ?? []).slice(0, 100).map(drawPerson)),
    h("div", { className: "actions" },
      full ? null : h("button", { type: "button", onclick: () => fullNumbers(id) }, "Show full numbers…"),
      h("button", { type: "button", onclick: () => lookedAt(id) }, "Who looked at it"),
      unknown ? h("button", { type: "button", onclick: () => settle("sent", { ids: [id] }).then((done) => done && openDetail(id)) }, "Settle as sent…") : null,
      unknown ? h("button", { type: "button", onclick: () => settle("not_sent", { ids: [id] }).then((done) => done && openDetail(id)) }, "Settle as not sent…") : null,
      unknown ? h("button", { type: "button", onclick: () => resend(id) }, "Send again…") : null),
    h("h4", {}, "What happened"),
    h("ol", { className: "timeline", "aria-label": "Timeline" }, (timeline.items ?? []).map(drawEvent)));
  if (full) byId("detail").dataset.full = "true";
  byId("detail").hidden = false;
  title.focus();
  byId("detail").scrollIntoView({ block: "nearest" });
}

const route = (given) => (given ? [given.used, given.reason && `(${given.reason})`, given.account && `by ${given.account}`, given.account_reason && `because of ${say(given.account_reason)}`].filter(Boolean).join(" ") : "");
const text = (given) => (given ? `${given.encoding}, ${count(given.characters, "character", "characters")}, ${count(given.segments, "segment", "segments")}` : "");

function pairs(rows) {
  return h("dl", { className: "pairs" }, rows.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function drawPerson(each) {
  const said = each.upstream ? [each.upstream.code, each.upstream.status, each.upstream.description].filter(Boolean).join(" ") : "";
  return h("li", {}, h("span", { className: "mono" }, numberOf(each)), pill(each.status), each.code && each.code !== each.status ? h("span", {}, say(each.code)) : null,
    each.account ? h("span", { className: "soft" }, `by ${each.account}`) : null, said ? h("span", { className: "soft" }, `smsclone: ${said}`) : null,
    each.upstream?.message_id ? h("code", {}, each.upstream.message_id) : null, each.resent_as ? jump("sent again as", each.resent_as) : null);
}

const jump = (words, id) => h("span", {}, `${words} `, h("button", { type: "button", className: "link", onclick: () => openDetail(id) }, id));

function kindOf(event) {
  const word = [event.event, event.outcome, event.status, event.words, event.result].filter((value) => typeof value === "string").join(" ").toLowerCase();
  if (/reject|not_sent|refused|gone|given_up|failed/.test(word)) return "bad";
  if (/unknown|no_answer|unreadable|missing|conflicting|interrupted|retried|held/.test(word)) return "odd";
  return /\b(sent|delivered|dnd_sent)\b/.test(word) ? "good" : "";
}

function drawEvent(event) {
  const { event: name, at, actor, ...rest } = event;
  const ids = Object.entries(rest).filter(([, value]) => typeof value === "string" && ID.test(value));
  const facts = Object.entries(rest).filter(([field, value]) => value !== null && value !== "" && !ids.some(([other]) => other === field));
  return h("li", { data: { kind: kindOf(event) } },
    h("div", { className: "what" }, h("strong", {}, EVENTS[name] ?? say(name)), moment(at), actor && actor !== "relay" ? h("span", {}, `by ${actor}`) : null),
    facts.length ? h("div", { className: "soft" }, h("bdi", {}, facts.map(([field, value]) => fact(field, value)).join(" · "))) : null,
    ...ids.map(([field, id]) => h("div", {}, jump(say(field), id))));
}

function fact(field, value) {
  if (field === "milliseconds") return `${grouped(value)} ms`;
  if (value !== null && typeof value === "object") return `${say(field)}: ${Object.entries(value).filter(([, inner]) => inner !== null).map(([name, inner]) => `${say(name)} ${typeof inner === "object" ? JSON.stringify(inner) : inner}`).join(", ")}`;
  return `${say(field)}: ${value}`;
}

async function fullNumbers(id) {
  const values = await act({ title: "Show full numbers?", again: true, confirm: "Show full numbers", text: ["The audit keeps that you looked, and at which notification."] });
  if (values !== null) await openDetail(id, true);
}

async function erase() {
  const values = await act({
    title: "Erase a number", again: true, danger: true, confirm: "Erase",
    text: ["The number is taken out of every notification that has ended, of all clients. This cannot be undone. The audit keeps that it was done, not the number."],
    fields: [{ name: "recipient", label: "Number", required: true, inputMode: "tel", placeholder: "0803…" }],
  });
  if (values === null) return;
  const receipt = await attempt(() => call("POST", operator("erase"), { body: { recipient: values.recipient } }));
  if (receipt === null) return;
  const lines = Object.entries(receipt).map(([name, value]) => `${say(name)}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  await act({ title: "Erased: the receipt", confirm: "Done", text: lines });
}

// --- unknown ---------------------------------------------------------------------------------------------------------

const open = { query: null, cursor: null, rows: new Map() };

function openUnknown() {
  return listUnknown();
}

async function listUnknown(event) {
  event?.preventDefault();
  const state = byId("unknown-state").value;
  open.query = { state: state === "open" ? "" : state, client: byId("unknown-client").value.trim(), account: byId("unknown-account").value.trim(), created_from: lagosTime(byId("unknown-from").value), created_to: lagosTime(byId("unknown-to").value) };
  open.cursor = null;
  open.rows.clear();
  byId("unknown-matching").checked = false;
  byId("unknown-rows").replaceChildren();
  await moreUnknown();
}

async function moreUnknown() {
  const asked = open.query;
  const page = await attempt(() => call("GET", operator("unknown"), { query: { ...asked, limit: 50, cursor: open.cursor } }));
  if (page === null || asked !== open.query) return;
  open.cursor = page.next_cursor ?? null;
  for (const item of page.items) open.rows.set(item.id, item);
  byId("unknown-rows").append(...page.items.map(drawUnknown));
  byId("unknown-more").hidden = open.cursor === null;
  tallyUnknown();
}

const chosen = () => [...document.querySelectorAll("#unknown-rows input:checked")].map((box) => box.value);

function tallyUnknown() {
  const ids = chosen();
  const all = byId("unknown-matching").checked;
  const total = `${count(open.rows.size, "notification", "notifications")}${open.cursor === null ? "" : " and more"}`;
  byId("unknown-tally").textContent = open.rows.size === 0 ? "None." : all ? `All that match: ${total}` : ids.length ? `${ids.length} of ${total} chosen` : total;
  for (const button of document.querySelectorAll("[data-settle]")) button.disabled = byId("unknown-state").value !== "open" || !(ids.length || (all && open.rows.size));
}

/** What the balance before and after a call says about it: evidence for a person, never acted upon. */
function evidence(item) {
  const given = item.evidence;
  if (!given) return "balance: not read around the call";
  return `balance ${units(given.before)} → ${units(given.after)}: fell by ${units(given.fell)}, known calls explain ${units(given.explained)}, unknown ones would be ${units(given.unknown)}`;
}

function drawUnknown(item) {
  const isOpen = item.state === "open";
  return h("li", { className: "result", data: { id: item.id } },
    isOpen ? h("input", { type: "checkbox", value: item.id, "aria-label": `Choose ${item.reference || item.id}`, onchange: tallyUnknown }) : pill(item.state, "plain"),
    h("div", { className: "result-main" },
      h("div", { className: "result-head" }, h("strong", {}, item.client ?? ""), moment(item.created_at), h("span", { className: "soft" }, `${age(since(item.created_at))} old`)),
      h("span", { className: "soft" }, [item.reference, item.message_type, item.sender].filter(Boolean).join(" · ")),
      h("span", { className: "mono" }, people(item)), h("span", { className: "soft" }, evidence(item)),
      ...item.recipients.filter((each) => each.resent_as).map((each) => jump("sent again as", each.resent_as))),
    h("span", { className: "actions" },
      isOpen ? h("button", { type: "button", "aria-label": `Send ${item.reference || item.id} again`, onclick: () => resend(item.id) }, "Send again…") : null,
      h("button", { type: "button", "aria-label": `Open ${item.id}`, onclick: () => openDetail(item.id) }, "Open")));
}

/** Settle what nobody knows: first as a dry run, so that the operator sees how many it is. */
async function settle(outcome, which) {
  const dry = await attempt(() => call("POST", operator("unknown/resolve"), { body: { ...which, outcome, dry_run: true } }));
  if (dry === null) return false;
  const matched = dry.matched ?? 0;
  const word = outcome === "sent" ? "sent" : "not sent";
  if (matched === 0) {
    trouble("Nothing of this is open any more.");
    return false;
  }
  const values = await act({
    title: `Settle ${count(matched, "outcome", "outcomes")} as ${word}?`, again: true, danger: outcome !== "sent", confirm: `Settle as ${word}`,
    text: [outcome === "sent" ? "Their clients are told that these reached the provider." : "Their clients are told that nothing was sent, and may send again: be certain, or a person gets it twice.", "It cannot be undone."],
    fields: [REASON],
  });
  if (values === null) return false;
  const done = await attempt(() => call("POST", operator("unknown/resolve"), { body: { ...which, outcome, reason: values.reason, dry_run: false } }));
  if (done !== null) announce(`${done.settled ?? matched} settled as ${word}`);
  return done !== null;
}

async function settleChosen(outcome) {
  const { client, account, created_from, created_to } = open.query;
  const filter = Object.fromEntries(Object.entries({ client, account, created_from, created_to }).filter(([, value]) => value));
  if (await settle(outcome, byId("unknown-matching").checked ? { filter } : { ids: chosen() })) await listUnknown();
}

/** smsclone's own list, as a file: what fits is shown, and what is certain can be settled. */
async function matchList() {
  const [file] = byId("match-file").files;
  if (file === undefined) return;
  const csv = await file.text();
  byId("match-file").value = "";
  const compare = (more) => attempt(() => call("POST", operator("unknown/match"), { body: { csv, ...more } }));
  const found = await compare({});
  if (found === null) return;
  const told = found.items.slice(0, 20).map((item) => `Line ${item.line}, ${item.recipient}: ${item.doubt ? `not certain, ${item.doubt}` : item.outcome === "sent" ? "sent" : "not sent"}`);
  const values = await act({
    title: found.certain ? `Settle ${count(found.certain, "outcome", "outcomes")} by this list?` : "Nothing is certain by this list",
    confirm: found.certain ? "Settle what is certain" : "Done", again: found.certain > 0, fields: found.certain ? [REASON] : [],
    text: [
      `${count(found.rows, "row", "rows")}, of which ${grouped(found.matched)} fit something open and ${grouped(found.unreadable)} could not be read. ${count(found.missing, "open recipient", "open recipients")} of that time ${found.missing === 1 ? "is" : "are"} not in it, which proves nothing.`,
      ...told, found.items.length > told.length ? `and ${grouped(found.items.length - told.length)} more` : ""].filter(Boolean),
  });
  if (values === null || !found.certain) return;
  const done = await compare({ settle: true, reason: values.reason });
  if (done === null) return;
  announce(`${done.settled} settled by the list`);
  await listUnknown();
}

async function resend(id) {
  const values = await act({
    title: "Send it again?", again: true, danger: true, confirm: "Send again",
    text: ["Whoever got the first one gets it twice, and it costs twice. The text is not kept: give it, and the relay checks that it is the same."],
    fields: [{ name: "message", label: "The text, exactly as it was", long: true, required: true }],
  });
  if (values === null) return;
  const sent = await attempt(() => call("POST", operator(`unknown/${id}/resend`), { body: { message: values.message } }));
  if (sent === null) return;
  announce(`Sent again as ${sent.id}`);
  await openDetail(sent.id);
}

// --- usage -----------------------------------------------------------------------------------------------------------

function openUsage() {
  if (!byId("usage-from").value) {
    const [year, month] = isoDay.format(new Date()).split("-").map(Number);
    byId("usage-from").value = `${year}-${String(month).padStart(2, "0")}-01`;
    byId("usage-to").value = month === 12 ? `${year + 1}-01-01` : `${year}-${String(month + 1).padStart(2, "0")}-01`;
  }
  return listUsage();
}

const usageQuery = () => ({ from: byId("usage-from").value, to: byId("usage-to").value, by: byId("usage-by").value });

async function listUsage(event) {
  event?.preventDefault();
  const usage = await attempt(() => call("GET", "/v1/usage", { query: usageQuery() }));
  if (usage !== null) drawUsage(usage);
}

function drawUsage(usage) {
  const by = Array.isArray(usage.by) ? usage.by : String(usage.by).split(",");
  const rows = usage.rows ?? [];
  const place = byId("usage-content");
  if (rows.length === 0) return place.replaceChildren(h("p", { className: "nothing" }, "Nothing was sent in these days."));
  const name = (row) => by.map((field) => row[field] ?? "–").join(" · ");
  const sum = (field) => rows.reduce((total, row) => total + Number(row[field] ?? 0), 0);
  const chart = h("div", {});
  if (by.length === 1 && by[0] === "day") columns(chart, rows.map((row) => ({ name: row.day, value: Number(row.units) })));
  else {
    const ordered = [...rows].sort((one, other) => Number(other.units) - Number(one.units)).slice(0, 15);
    bars(chart, ordered.map((row) => ({ name: name(row), value: Number(row.units), shown: count(row.units, "unit", "units") })), "");
  }
  const numbers = ["messages", "recipients", "segments", "units"];
  const line = (cells, first) => h("tr", {}, cells.map((cell, index) => h(first, { className: index < by.length ? "" : "count" }, cell)));
  place.replaceChildren(
    h("div", { className: "panel" }, h("h3", {}, "Units, an estimate"), chart),
    h("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Usage, as a table" }, h("table", {},
      h("thead", {}, line([...by.map(say), ...numbers], "th")), h("tbody", {}, rows.map((row) => line([...by.map((field) => row[field] ?? "–"), ...numbers.map((field) => grouped(row[field] ?? 0))], "td"))),
      h("tfoot", {}, line([...by.map((_, index) => (index ? "" : "all")), ...numbers.map((field) => grouped(sum(field)))], "td")))));
}

function columns(place, points) {
  const top = Math.max(...points.map(({ value }) => value), 1);
  const drawn = svg("svg", { class: "columns-chart", viewBox: `0 0 ${points.length * 10} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `Units by day, at most ${grouped(top)}; the figures are in the table` },
    ...points.map(({ name, value }, index) => svg("rect", { x: index * 10 + 1, y: 100 - (100 * value) / top, width: 8, height: (100 * value) / top }, svg("title", {}, `${name}: ${grouped(value)}`))));
  place.replaceChildren(drawn, h("p", { className: "axis" }, h("span", {}, points[0].name), h("span", {}, `at most ${grouped(top)} a day`), h("span", {}, points.at(-1).name)));
}

async function downloadUsage() {
  const query = usageQuery();
  const csv = await attempt(() => call("GET", "/v1/usage", { query, accept: "text/csv" }));
  if (csv === null) return;
  const address = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
  h("a", { href: address, download: `usage-${query.from}-to-${query.to}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// --- audit -----------------------------------------------------------------------------------------------------------

const audit = { cursor: null, about: "" };

/** All rows, or those about one notification. */
async function openAudit(about = "") {
  Object.assign(audit, { cursor: null, about });
  byId("audit-rows").replaceChildren();
  byId("audit-about").hidden = about === "";
  byId("audit-about").replaceChildren(...(about ? ["Only rows about ", h("code", {}, about), ". ", h("button", { type: "button", className: "link", onclick: () => show("audit") }, "Show all rows")] : []));
  await moreAudit();
}

function lookedAt(id) {
  show("audit", { about: id });
}

async function moreAudit() {
  const page = await attempt(() => call("GET", operator("audit"), { query: { limit: 50, notification_id: audit.about, cursor: audit.cursor } }));
  if (page === null) return;
  audit.cursor = page.next_cursor ?? null;
  byId("audit-more").hidden = audit.cursor === null;
  let body = byId("audit-rows").querySelector("tbody");
  if (body === null) {
    body = h("tbody", {});
    const heads = ["When", "Who", "What", "Notification", "How many", "Reason", "Hash"];
    byId("audit-rows").replaceChildren(page.items.length === 0 ? h("p", { className: "nothing" }, "There are no rows yet.") :
      h("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Audit rows" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), body)));
  }
  body.append(...page.items.map((row) => h("tr", {},
    h("td", {}, moment(row.at)), h("td", {}, [row.client, row.key].filter(Boolean).join(" · ")), h("td", {}, say(row.action)),
    h("td", {}, row.notification_id ? h("button", { type: "button", className: "link", "aria-label": `Open ${row.notification_id}`, onclick: () => openDetail(row.notification_id) }, `${row.notification_id.slice(0, 8)}…`) : "",
      row.other_id ? [" → ", h("button", { type: "button", className: "link", "aria-label": `Open ${row.other_id}`, onclick: () => openDetail(row.other_id) }, `${row.other_id.slice(0, 8)}…`)] : ""),
    h("td", {}, row.count === null || row.count === undefined ? "" : grouped(row.count)), h("td", {}, h("bdi", {}, row.reason ?? "")),
    h("td", {}, h("code", { title: row.hash ?? "" }, (row.hash ?? "").slice(0, 12))))));
}

// --- start -----------------------------------------------------------------------------------------------------------

byId("sign-in").addEventListener("submit", signIn);
byId("sign-out").addEventListener("click", () => signOut());
byId("pause").addEventListener("click", pause);
byId("find-form").addEventListener("submit", search);
byId("find-more").addEventListener("click", findMore);
byId("erase").addEventListener("click", erase);
byId("unknown-form").addEventListener("submit", listUnknown);
byId("unknown-more").addEventListener("click", moreUnknown);
byId("unknown-matching").addEventListener("change", tallyUnknown);
byId("match").addEventListener("click", () => byId("match-file").click());
byId("match-file").addEventListener("change", matchList);
byId("usage-form").addEventListener("submit", listUsage);
byId("usage-csv").addEventListener("click", downloadUsage);
byId("audit-more").addEventListener("click", moreAudit);
for (const button of document.querySelectorAll("#views button")) button.addEventListener("click", () => show(button.dataset.view));
for (const button of document.querySelectorAll("[data-settle]")) button.addEventListener("click", () => settleChosen(button.dataset.settle));
for (const what of ["keydown", "pointerdown"]) addEventListener(what, stayAwake, { passive: true });
addEventListener("hashchange", () => location.hash.slice(1) in VIEWS && show(location.hash.slice(1)));
addEventListener("pagehide", () => signOut());
document.addEventListener("visibilitychange", () => view === "now" && key !== null && openNow());
byId("key").focus();
