// A plugin in JavaScript, against the contract itself: no SDK.
import { write } from "weft:plugin/log@0.1.0";
import { resolve } from "weft:plugin/variables@0.1.0";

const schema = {
  type: "object",
  properties: {
    text: { type: "string", title: "Text", description: "What is shouted.", examples: ["hello"] },
    times: { type: "integer", title: "Times", description: "How often.", minimum: 1, maximum: 10, default: 1 },
  },
  required: ["text"],
  additionalProperties: false,
};

export const info = {
  describe: () => ({
    name: "acme/shout",
    version: "0.1.0",
    title: "Shout",
    summary: "Shouts. Written in JavaScript.",
    license: "Apache-2.0",
  }),
};

/** A result<_, failure> of the contract is an exception here. */
function fail(code, message) {
  throw { status: "failed", code, message, transient: false };
}

export const nodes = {
  nodeTypes: () => [
    {
      name: "shout",
      title: "Shout",
      summary: "Writes a text in capitals, for whoever the run's context names.",
      category: "other",
      configSchema: JSON.stringify(schema),
      resultSchema: JSON.stringify({ type: "object", properties: { text: { type: "string" }, whom: {} } }),
      branches: [],
      waits: [],
      repeat: "at-least-once",
    },
  ],

  check(node, config) {
    const { text } = JSON.parse(config) ?? {};
    return text === "" ? [{ pointer: "/text", message: "there is nothing to shout" }] : [];
  },

  execute(call) {
    if (call.node !== "shout") fail("unknown-type", `this plugin has no type ${call.node}`);
    const { text, times = 1 } = JSON.parse(call.config) ?? {};
    if (typeof text !== "string") fail("invalid-config", "`text` must be a string");
    if (!Number.isInteger(times) || times < 1 || times > 10) fail("invalid-config", "`times` must be 1 to 10");
    if (text === "") fail("empty", "there is nothing to shout");
    const whom = JSON.parse(resolve('"{{$context.whom}}"', undefined));
    write("info", `shouting ${times} times`);
    return { tag: "done", val: JSON.stringify({ text: Array(times).fill(text.toUpperCase()).join(" "), whom }) };
  },

  resume: () => fail("unexpected-event", "a step of this type waits for nothing"),
};
