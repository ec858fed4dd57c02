/* A plugin in C, against the contract itself: no SDK. It is compiled by clang with wasi-libc, and what that library needs comes from plain
 * WASI 0.2. The bindings (counter.h) are made from world.wit. */
#include "counter.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *SCHEMA =
    "{\"type\": \"object\", \"properties\": {\"text\": {\"type\": \"string\", \"title\": \"Text\","
    " \"description\": \"What is counted.\", \"examples\": [\"hello\"]}}, \"required\": [\"text\"]}";
static const char *RESULT = "{\"type\": \"object\", \"properties\": {\"letters\": {\"type\": \"integer\"}, \"whom\": {}}}";

/* Texts of the contract have a length and no zero at their end. What is given back belongs to the bindings, which free it. */

static bool is(const counter_string_t *text, const char *other) {
  return text->len == strlen(other) && memcmp(text->ptr, other, text->len) == 0;
}

static void some(counter_option_string_t *option, const char *text) {
  option->is_some = true;
  counter_string_dup(&option->val, text);
}

static bool fail(exports_weft_plugin_nodes_failure_t *failure, uint8_t status, const char *code, const char *message) {
  memset(failure, 0, sizeof *failure);
  failure->status = status;
  counter_string_dup(&failure->code, code);
  counter_string_dup(&failure->message, message);
  return false;
}

/* A reader of the JSON that the host gives, which is well-formed. It never recurses, so no depth is too deep. */

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
  return at;
}

/* Past the string that begins here. */
static const char *skip_string(const char *at, const char *end) {
  for (at++; at < end && *at != '"'; at++)
    if (*at == '\\') at++;
  return at < end ? at + 1 : end;
}

/* Past the value that begins here. */
static const char *skip_value(const char *at, const char *end) {
  size_t depth = 0;
  for (; at < end; at++) {
    if (*at == '"') {
      at = skip_string(at, end) - 1;
    } else if (*at == '{' || *at == '[') {
      depth++;
    } else if (*at == '}' || *at == ']') {
      if (depth == 0) return at;
      depth--;
    } else if (*at == ',' && depth == 0) {
      return at;
    }
  }
  return end;
}

/* Where the member's value begins; null if there is none, or the document is no object. */
static const char *member(const counter_string_t *json, const char *name) {
  const char *at = (const char *)json->ptr, *end = at + json->len;
  size_t length = strlen(name);
  at = skip_space(at, end);
  if (at == end || *at != '{') return NULL;
  for (at = skip_space(at + 1, end); at < end && *at == '"'; at = skip_space(at + 1, end)) {
    const char *key = at + 1, *after = skip_string(at, end);
    bool found = (size_t)(after - key) == length + 1 && memcmp(key, name, length) == 0;
    at = skip_space(after, end);
    at = skip_space(at < end ? at + 1 : end, end);
    if (found) return at < end ? at : NULL;
    at = skip_value(at, end);
    if (at == end || *at != ',') return NULL;
  }
  return NULL;
}

/* Characters of the string that begins here. */
static unsigned long letters(const char *at, const char *end) {
  unsigned long count = 0;
  for (at++; at < end && *at != '"'; at++) {
    if (*at == '\\') {
      at++;
      /* The second half of a surrogate pair is no character of its own. */
      bool is_code = at[0] == 'u' && end - at > 4;
      bool is_second = is_code && (at[1] == 'd' || at[1] == 'D') && strchr("cdefCDEF", at[2]) != NULL;
      count += is_second ? 0 : 1;
      at += is_code ? 4 : 0;
    } else if ((*at & 0xC0) != 0x80) {
      count++;
    }
  }
  return count;
}

void exports_weft_plugin_info_describe(exports_weft_plugin_info_plugin_info_t *ret) {
  memset(ret, 0, sizeof *ret);
  counter_string_dup(&ret->name, "acme/counter");
  counter_string_dup(&ret->version, "0.1.0");
  counter_string_dup(&ret->title, "Counter");
  counter_string_dup(&ret->summary, "Counts. Written in C.");
  some(&ret->license, "Apache-2.0");
}

void exports_weft_plugin_nodes_node_types(exports_weft_plugin_nodes_list_node_type_t *ret) {
  exports_weft_plugin_nodes_node_type_t *type = calloc(1, sizeof *type);
  if (type == NULL) abort();
  counter_string_dup(&type->name, "count");
  counter_string_dup(&type->title, "Count");
  counter_string_dup(&type->summary, "Counts the letters of a text, for whoever the run's context names.");
  counter_string_dup(&type->category, "calculation");
  counter_string_dup(&type->config_schema, SCHEMA);
  type->result_schema.is_some = true;
  counter_string_dup(&type->result_schema.val, RESULT);
  type->repeat = EXPORTS_WEFT_PLUGIN_NODES_REPEAT_AT_LEAST_ONCE;
  ret->ptr = type;
  ret->len = 1;
}

void exports_weft_plugin_nodes_check(counter_string_t *node, exports_weft_plugin_nodes_json_t *config,
                                     exports_weft_plugin_nodes_list_problem_t *ret) {
  counter_string_free(node);
  counter_string_free(config);
  ret->ptr = NULL;
  ret->len = 0;
}

static bool count(exports_weft_plugin_nodes_call_t *call, exports_weft_plugin_nodes_outcome_t *ret,
                  exports_weft_plugin_nodes_failure_t *err) {
  if (!is(&call->node, "count"))
    return fail(err, WEFT_PLUGIN_TYPES_STATUS_ERROR, "unknown-type", "this plugin has no type of that name");
  const char *text = member(&call->config, "text"), *end = (const char *)call->config.ptr + call->config.len;
  if (text == NULL || *text != '"')
    return fail(err, WEFT_PLUGIN_TYPES_STATUS_ERROR, "invalid-config", "`text` must be a string");
  unsigned long found = letters(text, end);
  if (found == 0) return fail(err, WEFT_PLUGIN_TYPES_STATUS_FAILED, "empty", "there is nothing to count");

  counter_string_t template, whom;
  weft_plugin_variables_fault_t fault;
  counter_string_set(&template, "\"{{$context.whom}}\"");
  if (!weft_plugin_variables_resolve(&template, NULL, &whom, &fault)) {
    memset(err, 0, sizeof *err);
    err->status = WEFT_PLUGIN_TYPES_STATUS_ERROR;
    err->code = fault.code;
    err->message = fault.message;
    err->transient = fault.transient;
    return false;
  }
  char line[64];
  snprintf(line, sizeof line, "counted %lu letters", found);
  counter_string_t message;
  counter_string_set(&message, line);
  weft_plugin_log_write(WEFT_PLUGIN_LOG_LEVEL_INFO, &message);
  /* And by WASI, as a program that knows nothing of Weft would. */
  printf("%s\n", line);
  fflush(stdout);

  size_t room = whom.len + 64;
  char *result = malloc(room);
  if (result == NULL) abort();
  int length = snprintf(result, room, "{\"letters\":%lu,\"whom\":%.*s}", found, (int)whom.len, (const char *)whom.ptr);
  counter_string_free(&whom);
  ret->tag = EXPORTS_WEFT_PLUGIN_NODES_OUTCOME_DONE;
  ret->val.done.ptr = (uint8_t *)result;
  ret->val.done.len = (size_t)length;
  return true;
}

bool exports_weft_plugin_nodes_execute(exports_weft_plugin_nodes_call_t *call, exports_weft_plugin_nodes_outcome_t *ret,
                                       exports_weft_plugin_nodes_failure_t *err) {
  bool is_done = count(call, ret, err);
  exports_weft_plugin_nodes_call_free(call);
  return is_done;
}

bool exports_weft_plugin_nodes_resume(exports_weft_plugin_nodes_call_t *call, exports_weft_plugin_nodes_json_t *state,
                                      exports_weft_plugin_nodes_event_t *event, exports_weft_plugin_nodes_outcome_t *ret,
                                      exports_weft_plugin_nodes_failure_t *err) {
  (void)ret;
  exports_weft_plugin_nodes_call_free(call);
  counter_string_free(state);
  exports_weft_plugin_nodes_event_free(event);
  return fail(err, WEFT_PLUGIN_TYPES_STATUS_ERROR, "unexpected-event", "a step of this type waits for nothing");
}
