// What the libraries of `plugins/js` give in Node: `{math, formula, jsonpath}`, each a list of what was asked and `{value}` or `{error}`. `tests/e2e/oracle.rs` asks the
// component the same.
import { createRequire } from 'node:module';

// What they put in the place of what QuickJS lacks is not to be used here.
const { toLocaleString } = Number.prototype;
await import('../plugins/js/libraries/expressions.js');
Number.prototype.toLocaleString = toLocaleString;

const { weftEvaluate } = globalThis;
const require = createRequire(new URL('../plugins/js/package.json', import.meta.url));
const { docs } = require('mathjs');
const formulas = require('@formulajs/formulajs');

// As the component gives what JSON lacks.
BigInt.prototype.toJSON = function () {
  const number = Number(this);
  return Number.isSafeInteger(number) ? number : String(this);
};

const ask = (work) => {
  try {
    return { value: JSON.parse(JSON.stringify(work()) ?? 'null') };
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
};

// math.js' own examples. What one of them names is there for those after it.
const random = /random|pickRandom|bernoulli/i;
const math = [];
for (const [name, { examples = [] }] of Object.entries(docs)) {
  const before = [];
  for (const example of examples) {
    const expression = [...before, example].join(';\n');
    if (random.test(expression)) continue;
    const answer = ask(() => weftEvaluate('math.js', expression, []));
    math.push({ name, expression, ...answer });
    if ('value' in answer && /^\s*\w+(\([^)]*\))?\s*=[^=]/.test(example)) before.push(example);
  }
}

// formula.js has no examples to read: each function gets all these.
const inputs = [
  [], ['3'], ['-2.5'], ["'abc'"], ['true'], ['null'], ["'2024-02-29'"], ['[1, 2, 3, 4]'], ['4', '2'], ['0.5', '3'], ["'a,b,c'", "','"], ['[1, 2, 3, 4]', '2'], ['[1, 2, 3, 4]', '[2, 4, 5, 9]'],
  ["'2024-01-31'", "'2024-03-15'"], ["'2024-01-31'", '2'], ['5', '2', '3'], ['0.3', '2', '4'], ["'hello world'", '2', '4'], ['[[1, 2], [3, 5]]'], ['[[1, 2], [3, 5]]', '[[1, 0], [0, 1]]'],
  ['0.05', '10', '1000'], ["'o'", "'hello world'", '1'], ['[5, 1, 4]', "'>2'"], ['0.4', '2', '3', 'true'], ['10', '2', '0.5', 'false'], ['0.01', '12', '-100', '0', '1'], ['2024', '2', '29'],
  ['3', '[[1, 10], [3, 30]]', '2', 'false'], ['[-100, 30, 40, 50]', '0.1'], ["'{0}'", '12.345'],
];
// Some differ each time; one makes matrices of 2024 lines, which are more than a step's result may be.
const unlike = /^(RAND|RANDBETWEEN|NOW|TODAY|MUNIT)$/;
const named = (value, name) =>
  Object.entries(value).flatMap(([member, inner]) => {
    const path = !name ? member : /^\d/.test(member) ? `${name}["${member}"]` : `${name}.${member}`;
    if (/^(default|utils)|^ERROR$/.test(path)) return [];
    return [...(typeof inner === 'function' ? [path] : []), ...(typeof inner === 'object' || typeof inner === 'function' ? named(inner ?? {}, path) : [])];
  });
const formula = named(formulas, '')
  .filter((name) => !unlike.test(name))
  .map((name) => {
    const calls = inputs.map((input) => `() => ${name}(${input})`).join(', ');
    const expression = `[${calls}].map((call) => { try { const given = call(); return given instanceof Error ? 'error ' + given.message : given; } catch (error) { return 'thrown'; } })`;
    return { name, expression, inputs: inputs.map((input) => input.join(', ')), ...ask(() => weftEvaluate('formula.js', expression, [])) };
  });

// JSONPath-plus: the paths of its documentation, over the store that they are about.
await import('../plugins/js/libraries/queries.js');
const store = {
  store: {
    book: [
      { category: 'reference', author: 'Nigel Rees', title: 'Sayings of the Century', price: 8.95 },
      { category: 'fiction', author: 'Evelyn Waugh', title: 'Sword of Honour', price: 12.99 },
      { category: 'fiction', author: 'Herman Melville', title: 'Moby Dick', isbn: '0-553-21311-3', price: 8.99 },
      { category: 'fiction', author: 'J. R. R. Tolkien', title: 'The Lord of the Rings', isbn: '0-395-19395-8', price: 22.99 },
    ],
    bicycle: { color: 'red', price: 19.95 },
  },
};
const paths = [
  '$.store.book[*].author', '$..author', '$.store.*', '$.store..price', '$..book[2]', '$..book[(@.length-1)]', '$..book[-1:]', '$..book[0,1]', '$..book[:2]', '$..book[0][category,author]',
  '$..book[?(@.isbn)]', '$..book[?(@.price<10)]', "$..*[?(@property === 'price' && @ !== 8.95)]", '$', '$..*', "$..[?(@.price>19)]^", '$.store.*~', "$.store.book[?(@path !== \"$['store']['book'][0]\")]",
  "$..book[?(@parent.bicycle && @parent.bicycle.color === \"red\")].category", "$..book.*[?(@property !== \"category\")]", '$..book[?(@property !== 0)]', "$.store.*[?(@property === 'color')]",
  '$.store.book[?(@parentProperty === "book")]', '$..book.*[?(@parentProperty !== 0)]', '$..book[?(@.price === @parent[1].price)]', '$..book..*@number()', '$..*@string()', '$.store.book[0:4:2].title', '`$', '$.nothing',
  '$..book[?(@.title.match(/Sword/))]', '$..book[?(@root.store.bicycle.price > @.price)].title', '$.store.book[?(',
];
const jsonpath = [];
for (const expression of paths) {
  try {
    jsonpath.push({ expression, value: JSON.parse(JSON.stringify(await globalThis.weftQuery('jsonpathplus', store, expression)) ?? 'null') });
  } catch (error) {
    jsonpath.push({ expression, error: String(error.message) });
  }
}
process.stdout.write(JSON.stringify({ math, formula, jsonpath, store }));
