// Figures as the reports write them: three significant digits, the same units.

function scaled(value, base, units) {
  let step = 0;
  while (value >= base - 0.5 && step < units.length - 1) {
    value /= base;
    step += 1;
  }
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return value.toFixed(digits) + units[step];
}

function size(count) {
  if (count < 1024) {
    return count ? count + " B" : "0";
  }
  return scaled(count / 1024, 1024, [" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"]);
}

function number(count) {
  return count < 100000 ? String(count) : scaled(count / 1000, 1000, ["k", "M", "G", "T", "P", "E"]);
}

function grouped(count) {
  return count.toLocaleString("en-US");
}

function counted(count, noun) {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function share(part) {
  const percent = Math.round(100 * part);
  if (part > 0 && percent === 0) return "<1%";
  if (part < 1 && percent === 100) return ">99%";
  return `${percent}%`;
}

function duration(ns) {
  if (ns < 1000) return ns ? `${Math.round(ns)} ns` : "0";
  if (ns < 120e9) return scaled(ns / 1000, 1000, [" \u00b5s", " ms", " s"]);
  let minutes = Math.floor(ns / 60e9);
  const seconds = Math.floor(ns / 1e9) % 60;
  const hours = Math.floor(minutes / 60);
  minutes %= 60;
  if (hours >= 1000) return `${Math.floor(hours / 24)}d`;
  return hours ? `${hours}h${String(minutes).padStart(2, "0")}m` : `${minutes}m${String(seconds).padStart(2, "0")}s`;
}

// The end of a path, as long as it fits: its last names matter most.
function tail(path, longest) {
  const letters = Array.from(path);
  if (letters.length <= longest) return path;
  const end = letters.slice(letters.length - longest + 1).join("");
  const slash = end.indexOf("/");
  return "\u2026" + (slash > 0 && slash < end.length - 1 ? end.slice(slash) : end);
}

const METRICS = {
  bytes: { title: "Bytes", show: size, meaning: "read and written" },
  calls: { title: "Calls", show: grouped, meaning: "system calls of every kind" },
  busy: { title: "Time", show: duration, meaning: "that successful calls took, added up over threads" },
  syncs: { title: "Syncs", show: grouped, meaning: "fsync, fdatasync and their kin" },
};
