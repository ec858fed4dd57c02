// `node bundle.mjs NAME OUT`: a library of `libraries/` with all that it imports, in one script.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const [name, outfile] = process.argv.slice(2);
const library = (file) => fileURLToPath(new URL(`libraries/${file}.js`, import.meta.url));

await build({
  entryPoints: [library(name)],
  outfile,
  bundle: true,
  minify: true,
  format: 'iife',
  platform: 'neutral',
  mainFields: ['browser', 'module', 'main'],
  conditions: ['browser'],
  logLevel: 'warning',
  // JSONata takes `btoa` from there, and from Node's `Buffer` elsewhere.
  define: { window: 'globalThis' },
  alias: { seedrandom: library('random'), 'typed-function': library('typed-function') },
  // math.js' pages of help are for people at a prompt.
  plugins: [{ name: 'no-help', setup: (build) => build.onLoad({ filter: /\/embeddedDocs\.js$/ }, () => ({ contents: 'export const embeddedDocs = {};' })) }],
});
