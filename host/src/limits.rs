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

/// Bytes of what the audit log tells of a change, as JSON: with the rest of an entry it fits into one value of the engine. Of more the
/// beginning is kept, and the digest.
pub const AUDIT_DETAILS_BYTES_MAX: usize = 4 * 1024;

/// Bytes of the name or path that an entry of the audit log is about.
pub const AUDIT_NAME_BYTES_MAX: usize = 512;

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

/// How often one call may be refused more memory: an interpreter asks a few times while it makes its own error of it.
pub const MEMORY_REFUSALS_MAX: u32 = 1_000;

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

/// Milliseconds between two ticks, at which computing guests are looked at: small against any deadline and against what a neighbour notices,
/// and rare against the cost of a look.
pub const EPOCH_TICK_MS: u64 = 2;

/// The same while there is no instance that could compute: a host that does nothing is not to wake up often.
pub const IDLE_TICK_MS: u64 = 10;

/// What a call has computed at least when it is moved to the background: many times of what steps take that are quick, so that moving costs
/// nothing that counts.
pub const BACKGROUND_CPU_MIN: Duration = Duration::from_millis(2);

/// Calls of a step or of a trigger that begin in the background after one that computed for so long: one in so many is enough for all
/// to begin there.
pub const LONG_CALLS_REMEMBERED: u8 = 32;

/// How long a call at least stands still in the background, where others are preferred, before it goes on among threads that are nice.
pub const STARVED_MIN: Duration = Duration::from_millis(20);

/// And how many times as long as it computed: it got less than a fifth of a core.
pub const STARVED_FACTOR: u32 = 4;

/// For how long the machine is taken to be busy after that: calls go among those threads at once.
pub const BUSY_FOR: Duration = Duration::from_secs(1);

/// How nice those threads are: beside others they get a third of the time, and still come to their end on a busy machine.
pub const BACKGROUND_NICENESS: i32 = 5;

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

/// Parts of a schema that are looked at to find one member: a schema may refer to itself, and twice at each turn.
pub const SCHEMA_LOOKS_MAX: usize = 1_000;

/// Unfinished runs of a revision that are counted one by one: how many more there are than that changes nobody's mind.
pub const UNFINISHED_COUNTED_MAX: usize = 10_000;

/// How long a plugin is tried to be removed that a request or a run holds: what has just ended lets go of it in milliseconds.
pub const LET_GO_MAX: Duration = Duration::from_millis(500);

/// Revisions and runs that a refusal names: more is not read.
pub const USES_NAMED_MAX: usize = 10;

/// Bytes of a plugin's component: Python's toolchain makes 18 MiB, and compiling more takes minutes.
pub const PLUGIN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Silence of a registry after which a plugin is not waited for any longer.
pub const REGISTRY_SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long a plugin may take from a registry or to one, also of one that sends a byte now and then.
pub const REGISTRY_SECONDS_MAX: Duration = Duration::from_secs(15 * 60);

/// What a registry may send in all: a plugin, and room for manifests, tokens and what TLS adds.
pub const REGISTRY_BYTES_MAX: u64 = PLUGIN_BYTES_MAX as u64 + 8 * 1024 * 1024;

/// Keys that are trusted for one vendor: an old and a new one, and those of its people.
pub const VENDOR_KEYS_MAX: usize = 100;

/// Signatures in one file: a vendor's old and new key, and whoever looked at it for others.
pub const PLUGIN_SIGNATURES_MAX: usize = 8;

/// Bytes of one of them: a key, a signature, and a few lines of text.
pub const SIGNATURE_BYTES_MAX: usize = 4 * 1024;

/// Functions of one component, with all that is nested in it: Python's toolchain makes 20,000.
pub const COMPONENT_FUNCTIONS_MAX: usize = 100_000;

/// Types of one component: a few thousand are usual.
pub const COMPONENT_TYPES_MAX: usize = 50_000;

/// Imports of one component and of the modules within it.
pub const COMPONENT_IMPORTS_MAX: usize = 20_000;

/// Exports and aliases of one component: a module of a toolchain with dynamic linking exports thousands.
pub const COMPONENT_EXPORTS_MAX: usize = 100_000;

/// Globals of one component: dynamic linking makes one for each symbol.
pub const COMPONENT_GLOBALS_MAX: usize = 100_000;

/// Segments of data and of table elements of one component.
pub const COMPONENT_SEGMENTS_MAX: usize = 100_000;

/// Instances in one component, by its text: a component of a component may be there more often than that.
pub const COMPONENT_INSTANCES_MAX: usize = 1_000;

/// Modules and components within one component: Python's toolchain makes about ten.
pub const COMPONENT_MODULES_MAX: usize = 200;

/// How deep components are nested within each other: toolchains make two levels, compositions of components a few more.
pub const COMPONENT_DEPTH_MAX: usize = 16;

/// Bytes of one function's code. The largest of interpreters have some hundreds of KiB; a compiler's time grows faster than them.
pub const FUNCTION_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Locals of one function: a compiler's time is their number times that of the blocks.
pub const FUNCTION_LOCALS_MAX: usize = 20_000;

/// How deep blocks are nested in a function: a switch of an interpreter has one level for each case.
pub const FUNCTION_NESTING_MAX: usize = 5_000;

/// Seconds in which a component must be compiled, unless an operator says otherwise. The largest that are known (Python's) take six.
pub const COMPILE_SECONDS_DEFAULT: u32 = 60;

/// Bytes of address space of a compiler: what NEAR gives its own, which compiles what anybody sends.
pub const COMPILE_MEMORY_BYTES_MAX: usize = 4 * 1024 * 1024 * 1024;

/// Threads of a compiler: more than a few do not end sooner, and each has memory of its own.
pub const COMPILE_THREADS_MAX: usize = 4;

/// Compilers at one time: together they may take twice [`COMPILE_MEMORY_BYTES_MAX`].
pub const COMPILERS_MAX: usize = 2;

/// By how much a compiler is less urgent than the host (`nice`): who is served goes before who installs.
pub const COMPILE_NICENESS: i32 = 10;

/// Bytes of a compiled component: about three times the component, sometimes eight.
pub const COMPILED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Bytes of what a compiler says of its failure.
pub const COMPILE_REPORT_BYTES_MAX: usize = 4 * 1024;

/// Milliseconds that a component may take to say who it is, or to check a config.
pub const DESCRIBE_WALL_MS_MAX: u64 = 5_000;

/// Types of one plugin: a list that people choose from.
pub const DESCRIBED_TYPES_MAX: usize = 200;

/// Branches, waits and subscriptions of one type.
pub const DESCRIBED_MEMBERS_MAX: usize = 100;

/// Bytes of what a plugin says of itself: two hundred types with a schema of 20 KiB each.
pub const DESCRIPTION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Patterns in one schema: each becomes a machine of [`SCHEMA_PATTERN_BYTES_MAX`] at most.
pub const SCHEMA_PATTERNS_MAX: usize = 100;

/// Bytes of a pattern that was made ready to match.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a code, a kind, a key or an id from a guest: programs compare them.
pub const NAME_BYTES_MAX: usize = 256;

/// Bytes of all header fields of a request or a response of a guest: servers take 8 to 64 KiB.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the URL of a request of a guest: servers take 8 KiB.
pub const URL_BYTES_MAX: usize = 16 * 1024;

/// People that a task is for, and buttons that it has.
pub const TASK_MEMBERS_MAX: usize = 100;

/// Bytes that one call stages (its output, results of steps, values, contexts of runs that it starts) and keeps of what it read,
/// together with the calls in the atomic branches around it: they are in memory until they are committed in one batch.
pub const STAGED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that one request of `crypto` works on: the longest body that is signed, and an id and a time before it. The host computes meanwhile, and cannot be interrupted.
pub const CRYPTO_BYTES_MAX: usize = BODY_BYTES_MAX + HEADER_BYTES_MAX;

/// Subscriptions of one workflow's trigger, and methods of one of them.
pub const SUBSCRIPTIONS_MAX: usize = 100;

/// Signals that one event may send.
pub const SIGNALS_MAX: usize = 100;

/// Problems of one config that a plugin may find: nobody reads more.
pub const CONFIG_PROBLEMS_MAX: usize = 100;

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

/// Bytes of a file that a step makes: it is in memory until it is stored.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Files that one call may make.
pub const FILES_MAX: usize = 100;

/// Requests for files that one call may make.
pub const FILE_CALLS_MAX: u32 = 1_000;

/// Bytes of the name of a file: file systems take no longer ones.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// Bytes of its media type.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// Requests to servers outside that one call may make.
pub const HTTP_CALLS_MAX: u32 = 100;

/// Bytes of the body of a request to a server outside: a file, and what a form puts around it.
pub const HTTP_REQUEST_BYTES_MAX: usize = FILE_BYTES_MAX + 64 * 1024;

/// Bytes of a server's response, unless a request asks for more or less: it is copied into the guest's memory, and of a request that is
/// waited for into the journal.
pub const HTTP_RESPONSE_BYTES_DEFAULT: usize = 1024 * 1024;

/// Bytes of a server's response that a request may ask for: what a file holds at most.
pub const HTTP_RESPONSE_BYTES_MAX: usize = FILE_BYTES_MAX;

/// Milliseconds for a request to a server outside, unless the guest says otherwise.
pub const HTTP_MS_DEFAULT: u32 = 30_000;

/// Milliseconds for a request that a step waits for without an instance: models take minutes.
pub const HTTP_MS_MAX: u32 = 15 * 60_000;

/// Redirects that are followed, each checked like the first request: more are a circle.
pub const HTTP_REDIRECTS_MAX: u32 = 5;

/// Milliseconds for connecting to a server outside.
pub const HTTP_CONNECT_MS_MAX: u64 = 10_000;

/// Bytes of the host's answers that are kept with one call for replays: as much as a journal entry may hold anyway.
pub const RECORDED_BYTES_MAX: usize = 256 * 1024;

/// Runs that a replay looks through for calls of its plugin.
pub const REPLAY_RUNS_MAX: u32 = 10_000;

/// How long a replay takes. Whoever asks for it waits.
pub const REPLAY_MS_MAX: std::time::Duration = std::time::Duration::from_secs(120);

/// Calls that a replay makes again at most.
pub const REPLAY_CALLS_MAX: u32 = 10_000;

/// How often a change of what is active is looked at anew since others changed it while calls were made again. Each time somebody else got on.
pub const TAKEOVER_ROUNDS_MAX: usize = 4;

/// Revisions that were active before of which a workflow's head knows, so that the way back is open: more than anybody goes back.
pub const REVISIONS_BEFORE_MAX: usize = 100;

/// Differences that a replay tells.
pub const REPLAY_DIFFERENCES_MAX: usize = 100;

/// Calls of a plugin version that break off or overrun one after the other before it is put in quarantine. One break may be its input's
/// fault, and each costs a whole deadline.
pub const BREAKS_IN_A_ROW_MAX: u32 = 5;

/// How long a run that a plugin in quarantine holds up is left alone before it looks again by itself. A release tells those that this
/// process knows of at once.
pub const QUARANTINE_LOOK_MS: u64 = 5 * 60_000;

/// How often what plugins have taken is written to the store, if it changed: one flush, and what is counted since is lost in a crash. A host
/// that crashes again and again lets a budget be exceeded by no more than what fits in this time, each time.
pub const TOTALS_KEPT_MS: u64 = 5_000;

/// Requests by `wasi:http` that one call has under way at once; further ones wait. Each may hold a whole body in the host.
pub const WASI_HTTP_AT_ONCE_MAX: usize = 8;

/// Bytes that one call receives by `wasi:http`: they stay in the host's memory until the guest reads them.
pub const WASI_HTTP_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of a body that a guest gives at once by `wasi:http`: every body that it makes may hold as much in the host.
pub const WASI_HTTP_CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Variables that are listed for a step of each trigger, step or scope that gives them: a picker shows no more.
pub const VARIABLES_LISTED_MAX: usize = 500;

/// Variables of a host: all are in memory.
pub const ENVIRONMENT_MAX: usize = 1000;

/// Bytes of a host's variable: URLs, addresses and small lists fit.
pub const ENVIRONMENT_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the line that a step says of how far it is: it stands in one row of a screen.
pub const PROGRESS_MESSAGE_BYTES_MAX: usize = 512;

/// Steps of which is known how far they are: more than runs are carried out at one time, and a few each.
pub const PROGRESS_KEPT_MAX: usize = 5_000;

/// Milliseconds between two events of a feed that say how far one step is: people do not read faster.
pub const PROGRESS_EVENT_MS: u64 = 200;

/// Events that say how far steps are for which a follower may be late before it misses some.
pub const PROGRESS_FOLLOWED_MAX: usize = 256;

/// Bytes of a secret: keys and certificates fit.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Bytes from which on a secret's value is taken out of what guests get and write: shorter ones stand in texts by chance.
pub const SECRET_MASKED_BYTES_MIN: usize = 4;

/// Connections that a host keeps: people choose from the list.
pub const CONNECTIONS_STORED_MAX: usize = 1_000;

/// Bytes of what anybody may see of a connection: a few certificates of authorities fit.
pub const CONNECTION_BYTES_MAX: usize = 128 * 1024;

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

/// Places that are named in a sample of a document: people pick some of them.
pub const SAMPLE_PATHS_MAX: usize = 1_000;

/// How deep they are looked for.
pub const SAMPLE_DEPTH_MAX: usize = 32;

/// Requests to one workflow that are remembered for whoever looks why nothing happens: the last of them are enough.
pub const REQUESTS_KEPT_MAX: usize = 20;

/// Workflows whose last requests are remembered; with the two bounds below it is 16 MiB at most, and notes of triggers beside it.
pub const REQUESTS_KEPT_WORKFLOWS_MAX: usize = 200;

/// Bytes of the beginning of a body that are remembered: to copy more would slow every request down.
pub const REQUEST_KEPT_BODY_BYTES: usize = 2 * 1024;

/// Bytes of the header fields, and of the URL, that are remembered.
pub const REQUEST_KEPT_HEAD_BYTES: usize = 1024;

/// Bytes of a route's path.
pub const HOOK_PATH_BYTES_MAX: usize = 256;

/// Runs that one event may start: they are stored in one batch.
pub const STARTS_MAX: usize = 100;

/// Milliseconds that a caller may wait for a run, whatever its trigger says: each holds a connection.
pub const WAIT_MS_MAX: u32 = 600_000;

/// Timers that one workflow has at one time: they go in one batch when another revision takes over.
pub const TIMERS_MAX: usize = 10_000;

/// Timers that one reaction of a trigger sets or clears: they are stored in one batch.
pub const TIMERS_SET_MAX: usize = 1_000;

/// Bytes of what a timer hands back.
pub const TIMER_PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Workflows whose timers fire at one time: each holds an instance of its trigger.
pub const TIMER_FIRES_AT_ONCE_MAX: usize = 16;

/// Timers of one workflow that fire one after the other, before others have their turn.
pub const TIMER_FIRES_IN_A_ROW_MAX: usize = 100;

/// Milliseconds until a timer that could not be delivered is tried again. Doubled with each try.
pub const TIMER_BACKOFF_MS: u64 = 1_000;

/// The same at most.
pub const TIMER_BACKOFF_MS_MAX: u64 = 5 * 60_000;

/// Events of one workflow that are kept for an operator. With more, the workflow's timers wait.
pub const SET_ASIDE_MAX: usize = 1_000;

/// Fires to come that are told at once: each may be a call of the trigger.
pub const NEXT_FIRES_MAX: usize = 100;

/// How long a trigger may take to say them. Whoever asks waits.
pub const FIRES_MS_MAX: Duration = Duration::from_secs(5);

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

/// Steps of a run that are shown at once, with what is in them: a run may have a hundred thousand.
pub const STEPS_SHOWN_MAX: usize = 1_000;

/// Bytes of their documents after which no further one is shown: what is sent is written to memory first.
pub const STEPS_SHOWN_BYTES_MAX: usize = 4 * 1024 * 1024;

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

/// Calls of a step on the bench, until it is finished: what waits or goes round longer is looked at in a host.
pub const LAB_CALLS_MAX: usize = 1_000;

/// Golden cases of a plugin: each costs an instance, and people read the report.
pub const GOLDEN_CASES_MAX: usize = 1_000;

/// Bytes of a file of golden cases.
pub const GOLDEN_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Configs that are made up for one type to see what it does with them.
pub const HOSTILE_CONFIGS_MAX: usize = 200;

/// Bytes of the text in such a config: the longest that a body or an output brings.
pub const HOSTILE_TEXT_BYTES: usize = 1024 * 1024;

/// How deep such a config nests: as deep as a host reads JSON, less what is around it.
pub const HOSTILE_DEPTH: usize = 120;

/// Calls of which the middle one is shown as what a call costs.
pub const MEASURED_CALLS: usize = 21;
