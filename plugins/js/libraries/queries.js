// Queries over JSON: JMESPath, JSONPath-plus, JSONata.
/*! needs its sources: JSONata reads the names of its own functions' parameters from their text. */
import jmespath from 'jmespath';
import jsonata from 'jsonata';
import { JSONPath } from 'jsonpath-plus';

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
