// In the place of the `typed-function` of math.js, which works out all combinations of types when it makes a function: most of what math.js would leave in the memory
// that each instance begins with. Here it does so when the function is first called, or asked for its signatures.
import typed from '../node_modules/typed-function/lib/esm/typed-function.mjs';

// It looks for an old way to write functions in their texts, and they have none here.
typed.warnAgainstDeprecatedThis = false;

const later = (name, signatures) => {
  let made;
  const make = () => (made ??= typed(name, signatures));
  // Two parameters, as the functions that it makes have.
  function deferred(_first, _second) {
    return (made ?? make()).apply(this, arguments);
  }
  const known = (member) => ({ get: () => make()[member], configurable: true, enumerable: true });
  const members = { name: { value: name, configurable: true }, signatures: known('signatures'), _typedFunctionData: known('_typedFunctionData') };
  return Object.defineProperties(deferred, members);
};

const isPlain = (parts) => parts.length === 2 && typeof parts[0] === 'string' && typeof parts[1] === 'object';

export default new Proxy(typed, { apply: (_, self, parts) => (isPlain(parts) ? later(...parts) : typed.apply(self, parts)) });
