/* Included before all else in QuickJS's sources: see ../.cargo/config.toml. */
#include <ctype.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
/* Where this is defined QuickJS does not bound its stack, and a deep recursion is a trap of the whole component. */
#undef __wasi__
