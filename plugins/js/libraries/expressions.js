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
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
};

const named = (values) => Object.fromEntries(values.map((value, index) => [`_v${index + 1}`, value]));

const formula = (expression, names) => new Function(...names, `"use strict"; return (${expression}\n)`);

globalThis.weftEvaluate = (dialect, expression, values) => {
  const variables = named(values);
  if (dialect === 'math.js') {
    return plain(evaluate(expression, variables));
  }
  return plain(formula(expression, Object.keys(variables))(...values));
};

globalThis.weftCheckExpression = (dialect, expression, count) => {
  if (dialect === 'math.js') parse(expression);
  else formula(expression, Array.from({ length: count }, (_, index) => `_v${index + 1}`));
};

// math.js makes most of its functions when they are first used: now is better than in each instance.
const used = [
  '1 + 2 * 3 - 4 / 5 ^ 2 % 3', 'a.b[1] > 1 and not false or 1 != 2', 'x = 1; y = x <= 2 ? x : -x', 'f(x) = x + 1; f(2)', 'random() + randomInt(1, 5)', 'pickRandom([1, 2])',
  'sum([1, 2]) + mean([1, 2]) + max(1, 2) + min(1, 2) + median([1, 2, 3]) + std([1, 2]) + prod([1, 2])', 'round(1.25, 1) + floor(1.5) + ceil(1.5) + abs(-1) + sqrt(4) + mod(5, 3) + pow(2, 3)',
  'log(10) + log10(10) + exp(1) + sin(1) + cos(pi)', 'concat("a", "b")', 'size([1, 2; 3, 4])', '[1, 2; 3, 4] * [1, 2; 3, 4]', 'map([1, 2], f(x) = x * 2)', 'filter([1, 2], f(x) = x > 1)', 'sort([2, 1])',
  '5 cm to inch', 'bignumber(1) + bignumber(2)', 'fraction(1, 3) + fraction(1, 3)', 'sqrt(-1)', 'number("1") + string(1)', 'format(1.5, 2)', '1:3',
];
for (const expression of used) plain(evaluate(expression, { a: { b: [1] }, c: 'x' }));
