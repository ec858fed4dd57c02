// Queries over JSON: JMESPath, JSONPath-plus, JSONata.
import jmespath from 'jmespath';
import jsonata from 'jsonata';
import { JSONPath } from 'jsonpath-plus';

// Functions have no text here, and JSONata counts the parameters of its own ones in their text.
Function.prototype.toString = function () {
  return `function ${this.name}(${Array.from({ length: this.length }, (_, index) => `a${index}`)}) { [native code] }`;
};

// JSONata throws objects that are no errors.
const told = (thrown) =>
  thrown instanceof Error || typeof thrown?.message !== 'string' ? thrown : `${thrown.message} (${thrown.code}, character ${thrown.position})`;
const carryOut = async (expression, source) => {
  try {
    return await jsonata(expression).evaluate(source);
  } catch (thrown) {
    throw told(thrown);
  }
};

// JSONata gives lists that are marked as sequences; JSON has lists only. What is no value is `null`.
globalThis.weftQuery = async (engine, source, expression) => {
  switch (engine) {
    case 'jmespath':
      return jmespath.search(source, expression);
    case 'jsonpathplus':
      // `safe`: filters are read and carried out by the library's own interpreter of simple expressions, not as JavaScript.
      return JSONPath({ path: expression, json: source, wrap: false, eval: 'safe' });
    default:
      return await carryOut(expression, source);
  }
};

globalThis.weftCheckQuery = (engine, expression) => {
  if (engine === 'jmespath') jmespath.compile(expression);
  else if (engine === 'jsonpathplus') JSONPath.toPathArray(expression);
  else {
    try {
      jsonata(expression);
    } catch (thrown) {
      throw told(thrown);
    }
  }
};
