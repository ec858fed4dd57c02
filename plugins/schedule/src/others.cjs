// What two other implementations say of the cases that come in on standard input: each line of the answer is a list of times.
const folder = process.argv[2] + '/node_modules/';
const { Cron } = require(folder + 'croner');
const { CronExpressionParser } = require(folder + 'cron-parser');

const readers = {
  croner: ({ cron, zone, from, count }) => new Cron(cron, { timezone: zone, paused: true }).nextRuns(count, new Date(from)),
  'cron-parser': ({ cron, zone, from, count }) =>
    CronExpressionParser.parse(cron, { tz: zone, currentDate: new Date(from) }).take(count).map((time) => time.toDate()),
};

const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
for (const one of cases) {
  console.log(JSON.stringify(readers[one.reader](one).map((time) => Math.floor(time.getTime() / 1000))));
}
