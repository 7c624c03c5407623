// Where the chosen model comes from: who signed it, whether that is trusted, which release it is, when it was checked.
import { call } from "/api.js";
import { make } from "/elements.js";
import { say } from "/words.js";

const GOOD = new Set(["trusted"]);
const BAD = new Set(["wrong", "revoked", "expired", "refused"]);

const day = (seconds) => new Date(seconds * 1000).toLocaleDateString(document.documentElement.lang, { dateStyle: "medium" });

function standing({ status, trusted_since: since }) {
  const texts = {
    trusted: () => say("trustedSince", { day: day(since) }),
    unknown: () => say("keyUnknown"),
    elsewhere: () => say("keyUnknown"),
    expired: () => say("signatureExpired"),
    revoked: () => say("keyRevoked"),
    wrong: () => say("signatureWrong"),
    refused: () => say("modelRefused"),
    unsigned: () => say("unsigned"),
    onnx: () => say("unsigned"),
  };
  return (texts[status] || (() => say("unchecked")))();
}

function rows(facts) {
  const mark = GOOD.has(facts.status) ? "good" : BAD.has(facts.status) ? "bad" : "";
  const found = [[say("signature"), standing(facts), mark]];
  if (facts.signed_by) found.push([say("signedBy"), facts.signed_by, ""], [say("fingerprint"), facts.fingerprint, "letters"]);
  if (facts.version) found.push([say("version"), String(facts.version), ""]);
  if (facts.status !== "onnx") found.push([say("checked"), facts.verified ? day(facts.verified) : say("notChecked"), ""]);
  return found;
}

/** Fills a definition list; leaves it hidden where the server tells nothing. */
export async function showOrigin(list, model) {
  list.hidden = true;
  if (!model) return;
  const answer = await call("GET", `/v1/models/${encodeURIComponent(model)}`).catch(() => null);
  if (!answer?.pocketseek) return;
  list.replaceChildren(
    make("dt", {}, say("model")), make("dd", {}, model),
    ...rows(answer.pocketseek).flatMap(([label, value, kind]) => [make("dt", {}, label), make("dd", { class: kind }, value)]));
  list.hidden = false;
}
