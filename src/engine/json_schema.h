// JSON Schema (https://json-schema.org/draft/2020-12) as a grammar: every text that the grammar allows is
// JSON that the schema accepts. The other way round it is narrower, so that a model cannot get lost:
//
//   properties come in the order in which they are declared; others only where additionalProperties says so
//   between tokens is nothing, a space, or a line's end and up to 20 spaces: after {, [ and commas and before
//   ] and }; after a colon at most a space; no blanks after the end whole numbers of at most 16 digits,
//   fractions of at most 16, exponents of at most two constants are written in one way; keys without escapes
//
// Known: type (also a list), enum, const, properties, required, additionalProperties, items, prefixItems,
// minItems, maxItems, minLength, maxLength, pattern, format (date, time, date-time, uuid; others are notes,
// as the standard has it), minimum, maximum, exclusiveMinimum, exclusiveMaximum (numbers: whole bounds; the
// exclusive ones for integers only), anyOf, oneOf (where no value can fit two of its schemas), allOf (of
// objects), $ref within the schema (also to itself), $defs, definitions, nullable. What only describes
// (title, default, …) is passed over; anything else is an Error that names it, never a schema half obeyed.
#pragma once

#include <string>
#include <string_view>

namespace tumbler::engine {

// The schema as GBNF (engine/grammar.h). Throws Error with the place in the schema.
std::string json_schema_grammar(std::string_view schema);

// GBNF of any JSON object.
std::string json_object_grammar();

}  // namespace tumbler::engine
