// What must hold at one place of a document: several schemas at once (a schema, what its $ref and allOf lead to, and
// what those of the surroundings say about this place).
//
// Ownership: borrows the schema document. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "base/result.h"

namespace infer::api {

enum TypeBit : uint32_t {
  kNullBit = 1,
  kBooleanBit = 2,
  kIntegerBit = 4,
  kNumberBit = 8,  // Numbers that are not integers: "number" is both.
  kStringBit = 16,
  kArrayBit = 32,
  kObjectBit = 64,
  kAllTypes = 127,
};

struct LocatedSchema {
  const Json* schema = nullptr;
  std::string pointer;  // "#/properties/a"
};

Error schema_error(ErrorCode code, std::string_view pointer, std::string_view what);

// A place below: "#/a" and "b/c" give "#/a/b~1c".
std::string below(std::string_view pointer, std::string_view key);
std::string below(std::string_view pointer, std::string_view key, size_t index);

struct SchemaGoal {
  std::vector<LocatedSchema> all;  // Objects, each once, every keyword of which must hold.
  std::set<const Json*> branched;  // The anyOf and oneOf of which a branch is already among them.
  bool impossible = false;         // `false` is among them.

  // The value of a keyword in each of the schemas that has it.
  std::vector<LocatedSchema> keyword(std::string_view name) const;
  bool has(std::string_view name) const { return !keyword(name).empty(); }
  const std::string& place() const;
  // What names this goal among all: equal keys mean the same texts.
  std::vector<const Json*> key() const;
};

class SchemaDocument {
 public:
  explicit SchemaDocument(const Json& root) : root_(root) {}

  // Adds a schema and all that it brings along. Checks its keywords.
  Status add(const LocatedSchema& schema, SchemaGoal& goal);
  LocatedSchema root() const { return {&root_, "#"}; }

 private:
  Status check_keywords(const LocatedSchema& schema) const;
  Result<LocatedSchema> resolve(const LocatedSchema& reference) const;

  const Json& root_;
  size_t work_ = 0;
  std::vector<const Json*> open_;  // Those whose $ref and allOf are being followed.
};

// Which types the goal allows: those that "type" says, or that its other keywords are about, or all.
Result<uint32_t> types_of(const SchemaGoal& goal);
uint32_t type_of_value(const Json& value);

// The values of enum and const that all of the goal's schemas allow; nullopt where none names values.
Result<std::optional<std::vector<Json>>> values_of(const SchemaGoal& goal);
bool same_value(const Json& a, const Json& b);

// Whole counts from 0, like maxItems: the greatest (or least) that any schema says.
Result<std::optional<uint32_t>> greatest_count(const SchemaGoal& goal, std::string_view keyword);
Result<std::optional<uint32_t>> least_count(const SchemaGoal& goal, std::string_view keyword);

}  // namespace infer::api
