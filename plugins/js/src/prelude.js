// What a realm has beside the language. Evaluated once in each; gives what the host calls.
(function (log, random) {
  'use strict';
  // A script may change or take away what it likes.
  const { BigInt, Error, Map, Math, Number, Object, Set, String, Uint8Array, WeakSet } = globalThis;
  const { stringify } = JSON;
  const { defineProperty, getPrototypeOf, fromEntries, hasOwn } = Object;

  // The engine's own would give the same numbers in every instance: its seed is as old as the plugin.
  defineProperty(Math, 'random', { value: random, writable: true, configurable: true });

  // What JSON lacks. Put in place when a script has ended, so that scripts see the language as it is.
  const own = (prototype, toJSON) => defineProperty(prototype, 'toJSON', { value: toJSON, configurable: true, writable: true });
  const unused = (prototype) => !hasOwn(prototype, 'toJSON');
  const typedArray = getPrototypeOf(Uint8Array.prototype);
  const exact = (n) => (n >= -9007199254740991n && n <= 9007199254740991n ? Number(n) : String(n));
  function extend() {
    if (unused(BigInt.prototype)) own(BigInt.prototype, function () { return exact(this.valueOf()); });
    if (unused(Map.prototype)) {
      own(Map.prototype, function () {
        const entries = [...this];
        return entries.every(([key]) => typeof key === 'string') ? fromEntries(entries) : entries;
      });
    }
    if (unused(Set.prototype)) own(Set.prototype, function () { return [...this]; });
    if (unused(typedArray)) own(typedArray, function () { return [...this]; });
    if (unused(Error.prototype)) own(Error.prototype, function () { return { name: this.name, message: this.message }; });
  }
  const toJson = (value) => {
    extend();
    return stringify(value) ?? 'null';
  };

  // A value as a line of the log, as other consoles show it: texts bare, all else as JSON as far as that goes.
  const shown = (value) => {
    if (typeof value === 'string') return value;
    if (typeof value === 'bigint') return `${value}n`;
    if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
    if (typeof value === 'object' && value !== null) {
      const seen = new WeakSet();
      try {
        return stringify(value, (_, part) => {
          if (typeof part === 'bigint') return `${part}n`;
          if (typeof part !== 'object' || part === null) return part;
          if (seen.has(part)) return '[seen above]';
          seen.add(part);
          return part instanceof Map || part instanceof Set ? [...part] : part;
        });
      } catch {
        return '[object]';
      }
    }
    return String(value);
  };
  const line = (level) => (...values) => log(level, values.map(shown).join(' '));
  const console = { debug: line(0), trace: line(0), log: line(1), info: line(1), dir: line(1), warn: line(2), error: line(3) };
  console.assert = (holds, ...values) => { if (!holds) console.error('Assertion failed:', ...values); };
  defineProperty(globalThis, 'console', { value: console, writable: true, configurable: true });

  // What was thrown, as JSON: an error's name, message and stack, else the value.
  const thrown = (error) => {
    if (error instanceof Error) {
      const text = (part) => { try { return String(part); } catch { return ''; } };
      return stringify({ name: text(error.name), message: text(error.message), stack: text(error.stack ?? '') });
    }
    try {
      return stringify({ message: typeof error === 'string' ? error : toJson(error) });
    } catch {
      return stringify({ message: 'a value that cannot be shown' });
    }
  };
  return { toJson, thrown };
});
