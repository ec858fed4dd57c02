// Queries over JSON: JMESPath, JSONPath-plus, JSONata.
/*! needs its sources: JSONata reads the names of its own functions' parameters from their text. */
import jmespath from 'jmespath';
import jsonata from 'jsonata';
import { JSONPath } from 'jsonpath-plus';

// JSONata gives lists that are marked as sequences; JSON has lists only. What is no value is `null`.
globalThis.weftQuery = async (engine, source, expression) => {
  switch (engine) {
    case 'jmespath':
      return jmespath.search(source, expression);
    case 'jsonpathplus':
      // `safe`: filters are read and carried out by the library's own interpreter of simple expressions, not as JavaScript.
      return JSONPath({ path: expression, json: source, wrap: false, eval: 'safe' });
    default:
      return await jsonata(expression).evaluate(source);
  }
};

globalThis.weftCheckQuery = (engine, expression) => {
  if (engine === 'jmespath') jmespath.compile(expression);
  else if (engine === 'jsonpathplus') JSONPath.toPathArray(expression);
  else jsonata(expression);
};
