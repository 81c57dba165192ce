// What a browser adds to pages that are complete without it: a countdown on the server's clock, live
// availability and order state, times in the reader's own zone, and a guard against sending a form twice.
// Whatever changes is rendered by the server; this only asks for it and puts it in place.

const announcer = document.getElementById("announcer");
const announce = (text) => {
  if (announcer) announcer.textContent = text;
};

// --- The server's clock -------------------------------------------------------------------------------
// The page says what the server's time was when it was made. The monotonic clock goes on from there, so a
// laptop whose own clock is wrong still counts right. News from the server corrects it.

const navigation = performance.getEntriesByType("navigation")[0];
let serverAt = Date.parse(document.documentElement.dataset.now ?? "");
let monotonicAt = navigation ? navigation.responseStart : performance.now();
// A page that comes out of the browser's own cache says an old time: then the device's clock is nearer.
const stale = navigation && navigation.type === "back_forward" && navigation.transferSize === 0;
if (Number.isNaN(serverAt) || stale) {
  serverAt = Date.now();
  monotonicAt = performance.now();
}
const now = () => serverAt + (performance.now() - monotonicAt);
const correctClock = (text) => {
  const told = Date.parse(text ?? "");
  if (Number.isNaN(told)) return;
  serverAt = told;
  monotonicAt = performance.now();
};

// --- Times in the reader's own zone -------------------------------------------------------------------

const withDate = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };
const withoutDate = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };

function localiseTimes(root) {
  for (const element of root.querySelectorAll("time[data-local]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const options = element.dataset.local === "time" ? withoutDate : withDate;
    element.textContent = new Intl.DateTimeFormat("en-GB", options).format(at);
  }
}

// --- The countdown ------------------------------------------------------------------------------------

const ANNOUNCED = [
  [300, "5 minutes left to pay"],
  [60, "1 minute left to pay"],
];
let announcedBelow = Infinity;
let ended = false;

function tick() {
  const element = document.querySelector("[data-countdown]");
  if (!element) return;
  const left = Math.ceil((Date.parse(element.dataset.countdown) - now()) / 1000);
  if (Number.isNaN(left)) return;
  const shown = Math.max(0, left);
  element.textContent = `${Math.floor(shown / 60)}:${String(shown % 60).padStart(2, "0")}`;
  document.getElementById("timer")?.classList.toggle("urgent", left <= 60);
  for (const [seconds, text] of ANNOUNCED) {
    if (left <= seconds && announcedBelow > seconds) {
      // A page that is opened with little time left says the nearest mark only.
      if (left > seconds - 5) announce(text);
      announcedBelow = seconds;
    }
  }
  if (left > 0) return;
  for (const part of document.querySelectorAll("[data-while-held], #timer")) part.hidden = true;
  for (const part of document.querySelectorAll("[data-ended]")) part.hidden = false;
  if (!ended) {
    ended = true;
    announce("The time to pay is over. Nothing was charged.");
    // The service cancels the order within moments; the stream or this look brings its last word.
    setTimeout(refresh, 2000);
  }
}

// --- Live parts ---------------------------------------------------------------------------------------

let refreshing = false;
let again = false;

// Asks for the page anew and takes over its live parts, keeping what a person has typed and where they are.
async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
    if (!response.ok || response.redirected) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live][id]")) {
      const next = fresh.getElementById(part.id);
      if (next) replace(part, next);
    }
    correctClock(fresh.documentElement.dataset.now);
    document.title = fresh.title;
    tick();
  } catch {
    // Out of reach for now: the page stays as it is, and the stream tells when there is news again.
  } finally {
    refreshing = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

function replace(part, next) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const typed = new Map([...part.querySelectorAll("input:not([type=hidden])")].map((input) => [input.id, input.value]));
  const adopted = document.importNode(next, true);
  for (const [id, value] of typed) {
    const input = id && adopted.querySelector(`#${CSS.escape(id)}`);
    if (input) input.value = value;
  }
  localiseTimes(adopted);
  part.replaceWith(adopted);
  if (focused) {
    const same = focused.id && document.getElementById(focused.id);
    const heading = adopted.querySelector("h1, h2, .stock");
    if (same) same.focus();
    else if (heading) {
      heading.tabIndex = -1;
      heading.focus();
    }
  }
}

function leftInWords(count) {
  if (count === 0) return "None left right now";
  return count === 1 ? "1 ticket left" : `${count} tickets left`;
}

function onTicket(news) {
  correctClock(news.now);
  const panel = document.querySelector("[data-ticket]");
  if (!panel || Number(panel.dataset.version) >= news.version) return;
  const before = Number(panel.dataset.available);
  panel.dataset.version = news.version;
  panel.dataset.available = news.available;
  const left = panel.querySelector("[data-left]");
  if (left) left.textContent = leftInWords(news.available);
  const quantity = panel.querySelector("#quantity");
  if (quantity) quantity.max = news.available;
  const outOrBack = (before === 0) !== (news.available === 0);
  if (outOrBack) announce(leftInWords(news.available));
  // A number is put in place; anything more is the server's to render.
  if (outOrBack || panel.dataset.price !== news.price) refresh();
}

function onOrder(news) {
  correctClock(news.now);
  const part = document.querySelector("[data-order]");
  if (!part || Number(part.dataset.version) >= news.version) return;
  const changed = part.dataset.status !== news.status;
  refresh().then(() => {
    if (changed) announce(document.querySelector("[data-order] h1")?.textContent ?? "The order has changed");
  });
}

const REOPEN_MILLIS = 15000;

function watch() {
  const ticket = document.querySelector("[data-ticket]")?.dataset.ticket;
  const order = document.querySelector("[data-order]:not([data-settled])")?.dataset.order;
  if (!ticket && !order) return;
  const query = new URLSearchParams();
  if (ticket) query.set("ticket", ticket);
  if (order) query.set("order", order);
  const source = new EventSource(`/live?${query}`);
  source.addEventListener("ticket", (event) => onTicket(JSON.parse(event.data)));
  source.addEventListener("order", (event) => onOrder(JSON.parse(event.data)));
  source.addEventListener("gone", () => {
    source.close();
    refresh();
  });
  source.addEventListener("error", () => {
    // A browser tries again by itself unless it was refused; then we do, later.
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, REOPEN_MILLIS);
  });
  addEventListener("pagehide", () => source.close(), { once: true });
}

// --- Sending once -------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-once]")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
});

addEventListener("pageshow", (event) => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) button.removeAttribute("aria-disabled");
  }
  if (event.persisted) {
    // Back from elsewhere: the page may be hours old.
    refresh();
    watch();
  }
});

// --- Start --------------------------------------------------------------------------------------------

// A form that was refused has `autofocus` on its summary; this is for browsers that know it on fields only.
requestAnimationFrame(() => {
  if (document.activeElement === document.body) document.getElementById("problem")?.focus();
});
localiseTimes(document);
tick();
if (document.querySelector("[data-countdown]")) setInterval(tick, 500);
watch();
