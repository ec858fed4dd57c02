// Formulas: math.js, and formula.js' functions in a JavaScript expression.
import { all, create } from 'mathjs';
import * as formulas from '@formulajs/formulajs';

const math = create(all);
const { evaluate, parse } = math;
const refuse = (name) => () => {
  throw new Error(`Function ${name} is disabled`);
};
// What math.js' documentation says of expressions from others: these change math.js itself, or run texts as further expressions.
const disabled = ['import', 'createUnit', 'config', 'reviver', 'evaluate', 'parse', 'parser', 'compile', 'simplify', 'derivative', 'resolve', 'chain', 'help'];
math.import(Object.fromEntries(disabled.map((name) => [name, refuse(name)])), { override: true });

// QuickJS has no `Intl`, and DOLLAR asks it for US dollars.
Number.prototype.toLocaleString = function (_, { style, minimumFractionDigits: digits } = {}) {
  if (style !== 'currency') return String(this);
  const [whole, rest] = Math.abs(this).toFixed(digits).split('.');
  return `${this < 0 ? '-' : ''}$${whole.replace(/\B(?=(\d{3})+$)/g, ',')}${rest ? `.${rest}` : ''}`;
};

for (const [name, formula] of Object.entries(formulas)) {
  if (name !== 'default') Object.defineProperty(globalThis, name, { value: formula });
}

// Decimals as spreadsheets give them: 0.1 + 0.2 is 0.3.
const rounded = (n) => {
  if (!Number.isFinite(n)) return null;
  return Number.isInteger(n) ? n : Number(n.toPrecision(15));
};

// What JSON has no form for becomes a list, or the text that math.js shows.
const plain = (value) => {
  if (typeof value === 'number') return rounded(value);
  if (typeof value === 'function') throw new Error('the result is a function: call it');
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (value instanceof Error) throw value;
  if (Array.isArray(value)) return value.map(plain);
  if (math.isMatrix(value) || math.isRange(value)) return plain(value.toArray());
  if (math.isResultSet(value)) return plain(value.entries);
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (math.isFraction(value)) return value.toFraction();
  if (math.isUnit(value) || math.isComplex(value)) return math.format(value, 15);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return String(value);
  const members = Object.entries(value).filter(([, member]) => typeof member !== 'function');
  return Object.fromEntries(members.map(([key, member]) => [key, plain(member)]));
};

const named = (values) => Object.fromEntries(values.map((value, index) => [`_v${index + 1}`, value]));

const formula = (expression, names) => new Function(...names, `"use strict"; return (${expression}\n)`);

const calculate = (dialect, expression, values) => {
  const variables = named(values);
  return dialect === 'math.js' ? evaluate(expression, variables) : formula(expression, Object.keys(variables))(...values);
};

globalThis.weftEvaluate = (...parts) => plain(calculate(...parts));

// math.js says itself what it takes for true, and what for neither.
const chosen = parse('value ? true : false').compile();

globalThis.weftHolds = (dialect, expression, values) => {
  let value = calculate(dialect, expression, values);
  if (value instanceof Error) throw value;
  if (dialect !== 'math.js') return Boolean(value);
  if (math.isResultSet(value)) value = value.entries.at(-1);
  return chosen.evaluate({ value });
};

globalThis.weftCheckExpression = (dialect, expression, count) => {
  if (dialect === 'math.js') parse(expression);
  else formula(expression, Array.from({ length: count }, (_, index) => `_v${index + 1}`));
};

// math.js makes most of its functions when they are first used: for these, now is better than in each instance. Others cost an instance a millisecond or more
// (ranges seven), and each that is made here some hundred kilobytes of the component.
const used = [
  '1 + 2 * 3 - 4 / 5', 'a.b[1] > 1 and not false or 1 != 2', 'x = 1; y = x <= 2 ? x : -x', '1 < 2 and 2 >= 1', 'sum([1, 2]) + max(1, 2) + min(1, 2)',
  'round(1.25, 1) + floor(1.5) + abs(1)', 'concat("a", "b")', 'string(1)',
];
for (const expression of used) plain(evaluate(expression, { a: { b: [1] }, c: 'x' }));
