//! Every bound of the host, with its unit and its reason.

use std::time::Duration;

/// Characters of a workflow's, step's, plugin's or type's key: they stand in URLs and in store keys.
pub const KEY_CHARS_MAX: usize = 64;

/// Steps of one definition: more is not read by people, and publishing checks each against its schema.
pub const DEFINITION_STEPS_MAX: usize = 1_000;

/// How deep branches nest. Each level takes four levels of JSON, of which the parser takes 128.
pub const BRANCH_DEPTH_MAX: usize = 24;

/// Bytes of the id that a node gives a branch or a wait: it becomes part of an activation's path.
pub const BRANCH_ID_BYTES_MAX: usize = 64;

/// Branches and waits of one activation at one time: each is told apart in every answer of the step.
pub const OPEN_AT_ONCE_MAX: usize = 1_000;

/// Milliseconds of any timeout or backoff, 180 days: beyond it a year's mistake in a unit is likelier than intent.
pub const TIMEOUT_MS_MAX: u64 = 180 * 24 * 60 * 60 * 1_000;

/// How often a call is made at most: with a backoff that doubles, more tries are further apart than the longest timeout.
pub const RETRY_ATTEMPTS_MAX: u32 = 100;

/// Runs that start each other, one in the other: a chain that is longer is a circle.
pub const STACK_DEPTH_MAX: u32 = 64;

/// Runs that are carried out at one time. Each holds its state and up to a few instances; more would only wait for each other.
pub const RUNS_LIVE_MAX: u32 = 1_000;

/// Runs of those that nobody waits for: timers, queues and messages leave room for requests.
pub const RUNS_BACKGROUND_MAX: u32 = 500;

/// Runs of a job queue that are carried out at one time, unless its operator says otherwise: a queue is for heavy work.
pub const QUEUE_CONCURRENCY_DEFAULT: u32 = 1;

/// Runs that are made to go on before others have their turn.
pub const PUMP_BATCH: usize = 64;

/// Entries of a journal that are folded each time a run goes on, before its state is stored beside it.
pub const SNAPSHOT_ENTRIES_MIN: usize = 200;

/// Revisions that are kept ready to run.
pub const PROGRAMS_KEPT_MAX: usize = 1_000;

/// How often an atomic branch is begun again because what it read was changed by others, before its step fails.
pub const ATOMIC_RESTARTS_MAX: u32 = 20;

/// Messages to a run by name that came before a step waits for them, and what has come for it and is not taken up yet.
pub const ARRIVALS_KEPT_MAX: usize = 1_000;

/// Calls of components in one run: an endless circle must end, and its journal must fit.
pub const RUN_CALLS_MAX: u32 = 100_000;

/// Bytes that sled keeps in its cache; the process takes up to four times that.
pub const STORE_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of a value that is split over several keys of the engine. Larger ones become files, which cost a flush each.
pub const STORE_SPLIT_BYTES_MAX: usize = 256 * 1024;

/// Batches that are made durable by one flush: more only adds to the wait of the first.
pub const COMMIT_GROUP_BATCHES_MAX: usize = 512;

/// Bytes that are made durable by one flush.
pub const COMMIT_GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Commits that are listed, so that whoever follows runs and was away can go on: half a minute of the heaviest load.
pub const COMMITS_KEPT: u64 = 10_000;

/// Commits that a follower may be late before it must read the list.
pub const FOLLOWED_COMMITS_MAX: usize = 1_024;

/// Bytes of a disk that are kept free for runs under way, unless its operator says otherwise: what a thousand of them write in minutes.
pub const FREE_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;

/// On a small disk it is the part that is one in so many of it, 5 %.
pub const FREE_PART_DEFAULT: u64 = 20;

/// Milliseconds between two looks at how much of the disk is free: less fits into it than [`FREE_BYTES_DEFAULT`].
pub const DISK_LOOK_MS: u64 = 1_000;

/// Pairs of the engine that are read at one time by what reads all of them: 8 MiB at most.
pub const CARE_PAGE_PAIRS: usize = 1_000;

/// Bytes that are written at one time by what copies a store.
pub const CARE_BATCH_BYTES: usize = 1024 * 1024;

/// Problems of a store that are listed; all are counted. Where there are more, one copy is as good as another: the one from before.
pub const PROBLEMS_LISTED_MAX: usize = 1_000;

/// Milliseconds for which a file that nothing refers to is left alone: it is written before what refers to it.
pub const BLOB_GRACE_MS: u64 = 60 * 60 * 1_000;

/// How many times the bytes of what is in it a store may take on disk before it is said that it could be made smaller.
pub const COMPACT_FACTOR: u64 = 4;

/// Bytes of a store below which that is not worth saying.
pub const COMPACT_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Milliseconds for which a dedup key is kept after its run began, at least: a day, as senders of webhooks repeat for hours.
pub const DEDUP_MS_MIN: u64 = 24 * 60 * 60 * 1_000;

/// Milliseconds for which a message by name and key is kept that nobody waits for.
pub const SIGNAL_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// Keys that end at one time, of messages and of runs that are gone: they share a flush and do not keep others from theirs.
pub const END_BATCH_KEYS: usize = 500;

/// Milliseconds between two looks for runs that are to be deleted: days are counted by the minute.
pub const HISTORY_LOOK_MS: u64 = 60_000;

/// Runs that are deleted at one time: they share a flush.
pub const HISTORY_BATCH_RUNS: usize = 64;

/// Milliseconds between two such batches: whoever begins now has the disk in between.
pub const HISTORY_PAUSE_MS: u64 = 10;

/// Parts of [`END_BATCH_KEYS`] kept messages that one look goes through: a million are gone through in three hours.
pub const HISTORY_SIGNAL_PARTS: usize = 10;

/// Instances of components at one time: each reserves address space, and a run that finds none waits for one.
pub const INSTANCES_MAX: u32 = 1_000;

/// Core modules in one component: Python's toolchain makes about ten.
pub const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 64;

/// Memories of one component. The pool has two for each instance.
pub const MEMORIES_PER_COMPONENT_MAX: u32 = 2;

/// Tables of one component.
pub const TABLES_PER_COMPONENT_MAX: u32 = 16;

/// Bytes of memory that one instance may have, all its memories together.
pub const STEP_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that an operator may let one instance of a plugin have: interpreters with their libraries.
pub const STEP_MEMORY_BYTES_CEILING: usize = 1024 * 1024 * 1024;

/// Bytes of memory that all instances of a host may have together: half of a small machine.
pub const GUESTS_MEMORY_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

/// Elements of one table: it holds functions, of which a component has thousands, not more.
pub const STEP_TABLE_ELEMENTS_MAX: usize = 20_000;

/// Bytes of a guest's stack. The host's part of a call has as much again.
pub const STEP_STACK_BYTES_MAX: usize = 512 * 1024;

/// Milliseconds of computing in one call. Waiting in the host is not counted.
pub const STEP_CPU_MS_MAX: u64 = 5_000;

/// Milliseconds of computing that an operator may let one call of a plugin have.
pub const STEP_CPU_MS_CEILING: u64 = 10 * 60_000;

/// Milliseconds that one call may take, waiting included.
pub const STEP_WALL_MS_MAX: u64 = 60_000;

/// Milliseconds that an operator may let one call of a plugin take: as long as the longest request to a server outside.
pub const STEP_WALL_MS_CEILING: u64 = 15 * 60_000;

/// Milliseconds between two ticks, at which computing guests are looked at: small against any deadline, and rare
/// against the cost of a look.
pub const EPOCH_TICK_MS: u64 = 10;

/// Bytes that a guest may hand over to the host at once: the longest context and what surrounds it.
pub const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of a result, of a response's body, of a scope.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the state that a pending step keeps.
pub const STATE_BYTES_MAX: usize = 64 * 1024;

/// Handles to the host's resources that one instance may hold.
pub const RESOURCE_HANDLES_MAX: usize = 1_000;

/// Random bytes that a guest gets in one call.
pub const RANDOM_BYTES_MAX: u64 = 64 * 1024;

/// Milliseconds of a guest's clocks: too coarse to watch the processor's caches (Spectre).
pub const GUEST_CLOCK_RESOLUTION_MS: u64 = 1;

/// Lines that one call may log.
pub const LOG_LINES_MAX: usize = 200;

/// Bytes that one call may log.
pub const LOG_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one line.
pub const LOG_LINE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a plugin's component: Python's toolchain makes 18 MiB, and compiling more takes minutes.
pub const PLUGIN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Milliseconds that a component may take to say who it is, or to check a config.
pub const DESCRIBE_WALL_MS_MAX: u64 = 5_000;

/// Messages that one call may add for whoever caused the run.
pub const MESSAGES_MAX: usize = 100;

/// Bytes of such a message.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// Requests for values of its own that one call may make.
pub const KV_CALLS_MAX: u32 = 1_000;

/// Bytes of the key of such a value: it becomes part of a store's key.
pub const KV_KEY_BYTES_MAX: usize = 256;

/// Bytes of such a value.
pub const KV_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Requests to servers outside that one call may make.
pub const HTTP_CALLS_MAX: u32 = 100;

/// Bytes of a server's response: it is copied into the guest's memory, and of a request that is waited for into the journal.
pub const HTTP_RESPONSE_BYTES_MAX: usize = 1024 * 1024;

/// Milliseconds for a request to a server outside, unless the guest says otherwise.
pub const HTTP_MS_DEFAULT: u32 = 30_000;

/// Milliseconds for a request that a step waits for without an instance: models take minutes.
pub const HTTP_MS_MAX: u32 = 15 * 60_000;

/// Redirects that are followed, each checked like the first request: more are a circle.
pub const HTTP_REDIRECTS_MAX: u32 = 5;

/// Milliseconds for connecting to a server outside.
pub const HTTP_CONNECT_MS_MAX: u64 = 10_000;

/// Bytes of a secret: keys and certificates fit.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Bytes from which on a secret's value is taken out of what guests get and write: shorter ones stand in texts by chance.
pub const SECRET_MASKED_BYTES_MIN: usize = 4;

/// Servers that one secret may be sent to.
pub const SECRET_HOSTS_MAX: usize = 100;

/// Wrong guesses at one secret from one address in a minute.
pub const SECRET_GUESSES_A_MINUTE_MAX: u32 = 20;

/// Addresses whose wrong guesses are remembered before old ones are forgotten.
pub const SECRET_GUESSERS_MAX: usize = 10_000;

/// Journal entries of a run that are in memory only. Until somebody relies on a run nothing of it need be stored.
pub const RUN_UNSTORED_ENTRIES_MAX: usize = 500;

/// How long a run goes on before it is stored although nobody relies on it yet: then others should see it.
pub const RUN_UNSTORED_MS_MAX: Duration = Duration::from_millis(1_000);

/// Bytes of a config with its variables filled in: it is copied into the guest's memory.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a request's body, unless its trigger says otherwise.
pub const BODY_BYTES_DEFAULT: usize = 1024 * 1024;

/// Bytes of a request's body that a trigger can ask for: it is copied into the trigger's memory and parsed there.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of a route's path.
pub const HOOK_PATH_BYTES_MAX: usize = 256;

/// Runs that one event may start: they are stored in one batch.
pub const STARTS_MAX: usize = 100;

/// Milliseconds that a caller may wait for a run, whatever its trigger says: each holds a connection.
pub const WAIT_MS_MAX: u32 = 600_000;

/// Bytes of the context that a run begins with: the longest body, as JSON, and its headers.
pub const CONTEXT_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Bytes of the name and of the key of a message for runs.
pub const SIGNAL_NAME_BYTES_MAX: usize = 256;

/// Milliseconds between two signs of life on a connection that follows runs: proxies close those that are silent.
pub const FEED_PING_MS: u64 = 15_000;

/// Connections that follow runs at one time.
pub const FEEDS_MAX: usize = 1_000;

/// Bytes of a body of the API: a definition or a secret.
pub const API_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Items of a page, unless the caller says otherwise.
pub const LIST_LIMIT_DEFAULT: usize = 50;

/// Items of a page.
pub const LIST_LIMIT_MAX: usize = 500;

/// Milliseconds in which a body must have come: whoever is slower holds a connection for nothing.
pub const BODY_READ_MS_MAX: u64 = 30_000;

/// Milliseconds in which a request's head must have come. An idle connection is closed after the same time.
pub const HEAD_READ_MS_MAX: u64 = 10_000;

/// Bytes of a connection's read buffer, and so of a request's head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Header fields of a request.
pub const HEADERS_MAX: usize = 100;

/// Connections at one time. Others wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 8_192;

/// Milliseconds for requests that are under way when the host is told to stop.
pub const SHUTDOWN_MS_MAX: u64 = 10_000;

/// Milliseconds without a change after which a file in the watched folder is taken for whole.
pub const FOLDER_SETTLE_MS: u64 = 300;

/// A flush of the store that takes longer may have missed that a write failed, and is helped.
pub const FLUSH_SLOW: Duration = Duration::from_secs(1);

/// How long the store's writer gathers batches before a flush, when it is busy: measured at 32 clients, 0.5 ms makes groups of
/// 16 instead of 4 and saves a quarter of the CPU time of a run, and throughput rises with it.
pub const COMMIT_GATHER: Duration = Duration::from_micros(500);
