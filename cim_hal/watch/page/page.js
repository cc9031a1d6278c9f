"use strict";
// Polls status.json and draws it. Text of others reaches the page as text nodes only.

const EVERY_MS = 1000, PATIENCE_MS = 5000, SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);
let lastSeen = 0;

function make(tag, attributes = {}, ...children) {
  const isSvg = ["svg", "rect", "path", "line", "title"].includes(tag);
  const element = isSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

function duration(seconds) {
  if (seconds < 0.1) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.floor(seconds), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  if (hours === 0) return `${minutes}:${two(whole % 60)}`;
  if (hours < 48) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function amount(number) {
  for (const [power, suffix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (Math.abs(number) >= power) return Number((number / power).toPrecision(3)) + suffix;
  return String(Number(number.toPrecision(3)));
}

const short = (job) => make("code", { title: job }, job.slice(0, 8));
const size = (job) => `${job.n_spins} × ${amount(job.n_runs)} × ${amount(job.round_trips)}`;
const SLOTS = 60; // of a chart: the stretches that a server remembers
const total = (numbers) => numbers.reduce((sum, number) => sum + number, 0);

function table(columns, rows) {
  const head = columns.map(([name, style]) => make("th", { class: style }, name));
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((cell, i) => make("td", { class: columns[i][1] }, cell))));
  return make("div", { class: "scroll" },
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)));
}

function fill(id, small, ...children) {
  const section = at(id), note = section.querySelector("h2 small");
  if (note) note.textContent = small;
  section.querySelector(".body").replaceChildren(...children);
}

const quiet = (sentence) => make("p", { class: "quiet" }, sentence);

// ---- charts: inline SVG, no library ----------------------------------------------------------

function bars(values, style, top) {
  const width = 100 / SLOTS, first = SLOTS - values.length;
  const chart = make("svg", { class: "chart", viewBox: "0 0 100 40", preserveAspectRatio: "none" });
  values.forEach((value, i) => {
    const height = top > 0 ? (38 * Math.min(value, top)) / top : 0;
    chart.append(make("rect", {
      class: style, x: ((first + i) * width).toFixed(2), y: (40 - height).toFixed(2),
      width: (0.82 * width).toFixed(2), height: height.toFixed(2),
    }));
  });
  chart.append(make("line", { class: "base", x1: 0, x2: 100, y1: 40, y2: 40 }));
  return chart;
}

function curve(all) {
  const points = all.filter(([, value]) => value !== null);  // null: it was not a number
  const chart = make("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none" });
  if (points.length < 2) return chart;
  const values = points.map(([, value]) => value), times = points.map(([time]) => time);
  const low = Math.min(...values), high = Math.max(...values), span = high - low;
  const first = times[0], length = times[times.length - 1] - first || 1;
  const place = ([time, value]) => {
    const y = span > 0 ? 27 - (24 * (value - low)) / span : 15;
    return `${((100 * (time - first)) / length).toFixed(2)} ${y.toFixed(2)}`;
  };
  chart.append(make("path", { class: "curve", d: `M${points.map(place).join("L")}` }));
  chart.append(make("title", {}, `${amount(low)} to ${amount(high)} in ${duration(length)}`));
  return chart;
}

function figure(left, right, chart) {
  return make("figure", {}, chart,
    make("figcaption", {}, make("span", {}, left), make("span", {}, right)));
}

// ---- the sections ----------------------------------------------------------------------------

function drawRunning(status) {
  const job = status.running;
  if (!job) {
    const last = status.recent.length ? `, for ${duration(status.recent[0].ended_ago_s)}` : "";
    return fill("running", "", quiet(`nothing runs${last}`));
  }
  const bar = make("div"), isTold = job.progress !== null, isExpected = job.expected_s > 0;
  const isKnown = isTold || isExpected;
  const share = isTold ? job.progress : isExpected ? Math.min(job.ran_s / job.expected_s, 0.99) : 0.3;
  if (isKnown) bar.style.width = `${100 * share}%`;
  const percent = isTold ? `${Math.round(100 * share)} %, ` : "";
  const about = !isExpected ? (isTold ? "" : ", nobody knows how long")
    : job.ran_s > job.expected_s ? `, longer than the expected ${duration(job.expected_s)}`
    : ` of about ${duration(job.expected_s)}`;
  fill("running", "",
    make("div", { class: "job" }, make("strong", { class: "running" }, short(job.job)),
      make("span", {}, job.user),
      quiet(`${job.n_spins} spins × ${job.n_runs} runs × ${job.round_trips} round trips`)),
    make("div", {
      class: isKnown ? "track" : "track unknown", role: "progressbar",
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "estimated progress",
      ...(isKnown ? { "aria-valuenow": Math.round(100 * share) } : {}),
    }, bar),
    make("div", { class: "between quiet" },
      make("span", {}, `${percent}${duration(job.ran_s)}${about}`),
      make("span", {}, `waited ${duration(job.waited_s)}`)));
}

function drawQueue(status) {
  const rows = status.queue.map((job) => [short(job.job), job.user, size(job), duration(job.waited_s)]);
  const more = status.queued - rows.length;
  fill("queue", status.queued || "",
    rows.length
      ? table([["job"], ["user"], ["spins × runs × trips", "number"], ["waits", "number"]], rows)
      : quiet("nobody waits"),
    ...(more > 0 ? [quiet(`and ${more} more`)] : []));
}

function drawTempo(status) {
  const tempo = status.throughput, section = at("tempo");
  const span = Math.max(tempo.bucket_s * tempo.jobs.length, 1);
  section.querySelector("small").textContent = `last ${duration(span)}`;
  at("rate").textContent = amount((60 * total(tempo.jobs)) / span);
  at("runs").textContent = amount(total(tempo.runs) / span);
  at("busy").textContent = `${Math.round((100 * total(tempo.busy_s)) / span)} %`;
  at("done").textContent = amount(status.ended.done || 0);
  at("failed").textContent = amount(status.ended.failed || 0);
  at("failed").className = status.ended.failed ? "failed" : "";
  const most = Math.max(...tempo.jobs, 1), ago = `${duration(SLOTS * tempo.bucket_s)} ago`;
  section.querySelector(".charts").replaceChildren(
    figure(`jobs, at most ${most} in ${tempo.bucket_s} s`, "", bars(tempo.jobs, "bars", most)),
    figure("busy, full height is 100 %", "", bars(tempo.busy_s, "load", tempo.bucket_s)),
    make("p", { class: "between quiet" }, make("span", {}, ago), make("span", {}, "now")));
}

function drawMachine(known) {
  const machine = known.status.machine;
  if (!machine) return fill("machine", "", quiet("the server does not say"));
  const parts = [], telemetry = machine.telemetry, driver = machine.driver;
  if (driver.restarts || driver.fault)
    parts.push(make("p", { class: driver.phase === "ready" ? "stopping" : "broken" },
      `driver ${driver.phase}, restarted ${driver.restarts}×${driver.fault ? `: ${driver.fault}` : ""}`));
  if (machine.telemetry_stale)
    parts.push(make("p", { class: "stopping" }, `telemetry is stale: ${duration(machine.age_s)} old`));
  const locks = Object.entries(telemetry ? telemetry.interlocks : {});
  if (locks.length)
    parts.push(make("div", { class: "chips" }, ...locks.map(([name, isClosed]) =>
      make("span", { class: `chip ${isClosed ? "done" : "open"}` }, `${name} ${isClosed ? "closed" : "open"}`))));
  if (telemetry && telemetry.readings.length)
    parts.push(table([["reading"], ["value", "number value"], ["", "number"]],
      telemetry.readings.map((reading) => {
        const past = known.history[reading.name];
        return [reading.name, valueOf(reading), past ? curve(past.points) : ""];
      })));
  if (!parts.length) parts.push(quiet("reports no telemetry"));
  fill("machine", calibrationOf(machine), ...parts);
}

function valueOf(reading) {
  if (typeof reading.value === "boolean") return reading.value ? "yes" : "no";
  if (typeof reading.value === "string") return reading.value;
  return `${Number(reading.value.toPrecision(4))} ${reading.unit}`;
}

function calibrationOf(machine) {
  if (!machine.calibration) return "";
  const stale = machine.calibration_stale ? ", too old" : "";
  return `calibrated ${duration(machine.calibration_age_s)} ago${stale}`;
}

function drawRecent(status) {
  const rows = status.recent.map((job) => [
    short(job.job), job.user, size(job), duration(job.waited_s), duration(job.ran_s),
    `${duration(job.ended_ago_s)} ago`,
    make("span", { class: job.state }, job.state), job.message || job.reason,
  ]);
  const counts = Object.entries(status.ended).sort().map(([state, count]) => `${count} ${state}`);
  fill("recent", counts.join(", "), rows.length
    ? table([["job"], ["user"], ["spins × runs × trips", "number extra"], ["waited", "number extra"],
             ["ran", "number"], ["ended", "number"], ["how"], ["why", "long"]], rows)
    : quiet("no job has ended yet"));
}

function drawSessions(status) {
  const rows = status.sessions.map((session) => [
    make("code", {}, session.session), session.user, session.client,
    duration(session.age_s), duration(session.idle_s),
  ]);
  fill("sessions", status.n_sessions || "", rows.length
    ? table([["session"], ["user"], ["client", "extra"], ["open", "number"], ["silent", "number"]], rows)
    : quiet("none"));
}

function drawEvents(status) {
  const rows = status.events.map((event) => {
    const job = event.facts.job, about = job ? short(String(job)) : event.facts.client || event.facts.what || "";
    return [`${duration(event.ago_s)} ago`, event.event, about, event.user];
  });
  fill("events", "", rows.length
    ? table([["", "number"], ["event"], ["about"], ["user"]], rows) : quiet("none yet"));
}

// ---- the loop --------------------------------------------------------------------------------

function banner(id, sentence) {
  at(id).hidden = !sentence;
  at(id).textContent = sentence || "";
}

function drawHolder(status) {
  const { stop, lock } = status;
  banner("stop", stop && `Emergency stop by ${stop.by}, ${duration(stop.for_s)} ago${stop.reason ? `: ${stop.reason}` : ""}`);
  const left = lock && lock.expires_in_s !== null ? `, ${duration(lock.expires_in_s)} left` : "";
  banner("lock", lock && `Locked by ${lock.holder}${left}${lock.note ? `: ${lock.note}` : ""}`);
}

function draw(known) {
  const status = known.status;
  banner("trouble", known.trouble);
  document.body.className = known.trouble ? "stale" : "";
  at("target").textContent = known.target;
  if (!status) return;
  document.title = `${status.device} – ${known.trouble ? "no connection" : status.state}`;
  at("device").textContent = status.device;
  at("state").textContent = known.trouble ? "no connection" : status.state;
  at("state").className = `pill ${known.trouble ? "broken" : status.state}`;
  at("software").textContent =
    [status.software, status.uptime_s ? `up ${duration(status.uptime_s)}` : ""].filter(Boolean).join(", ");
  drawHolder(status);
  drawRunning(status);
  drawQueue(status);
  drawTempo(status);
  drawMachine(known);
  drawRecent(status);
  drawSessions(status);
  drawEvents(status);
}

async function look() {
  if (!document.hidden || !lastSeen) {
    try {
      const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(`the page's server says ${answer.status}`);
      draw(await answer.json());
      lastSeen = Date.now();
    } catch (error) {
      const since = lastSeen ? ` for ${duration((Date.now() - lastSeen) / 1000)}` : "";
      banner("trouble", `nothing was heard${since}; trying again`);
      document.body.className = "stale";
    }
    at("seen").textContent = lastSeen ? `as of ${new Date(lastSeen).toLocaleTimeString()}` : "";
  }
  setTimeout(look, EVERY_MS);
}

look();
