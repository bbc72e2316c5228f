#include "api/schema_formats.h"

#include <algorithm>
#include <array>

namespace infer::api {
namespace {

#define INFER_DATE                                                                                                     \
  "[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]" \
  ")"                                                                                                                  \
  ")"
#define INFER_TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define INFER_LABEL "[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?"
#define INFER_HOST INFER_LABEL "(\\." INFER_LABEL "){0,6}"
#define INFER_OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9][0-9]|[0-9])"

constexpr std::array<StringFormat, 10> kFormats = {{
    {"date", "^" INFER_DATE "$", 10, 10},
    {"time", "^" INFER_TIME "$", 9, 21},
    {"date-time", "^" INFER_DATE "T" INFER_TIME "$", 20, 32},
    {"duration",
     "^P([0-9]{1,4}W|([0-9]{1,4}Y([0-9]{1,2}M([0-9]{1,2}D)?)?|[0-9]{1,4}M([0-9]{1,2}D)?|[0-9]{1,4}D)"
     "(T([0-9]{1,4}H([0-9]{1,2}M([0-9]{1,2}S)?)?|[0-9]{1,4}M([0-9]{1,2}S)?|[0-9]{1,4}S))?"
     "|T([0-9]{1,4}H([0-9]{1,2}M([0-9]{1,2}S)?)?|[0-9]{1,4}M([0-9]{1,2}S)?|[0-9]{1,4}S))$",
     3, 24},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", 36, 36},
    {"email", "^[A-Za-z0-9_%+-]{1,16}(\\.[A-Za-z0-9_%+-]{1,16}){0,2}@" INFER_HOST "$", 3, 270},
    {"hostname", "^" INFER_HOST "$", 1, 223},
    {"ipv4", "^" INFER_OCTET "(\\." INFER_OCTET "){3}$", 7, 15},
    {"ipv6", "^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$", 15, 39},
    {"uri",
     "^[a-z][a-z0-9+.-]{1,9}://" INFER_HOST
     "(:[0-9]{1,4})?(/[A-Za-z0-9._~!$&'()*+,;=:@-]{0,60}){0,8}(\\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]{0,200})?$",
     6, 930},
}};

constexpr std::array<std::string_view, 9> kOtherStandardFormats = {
    "idn-email",    "idn-hostname", "uri-reference",         "iri",         "iri-reference",
    "uri-template", "regex",        "relative-json-pointer", "json-pointer"};

}  // namespace

const StringFormat* find_format(std::string_view name) {
  const auto* const found = std::find_if(kFormats.begin(), kFormats.end(),
                                         [name](const StringFormat& format) { return format.name == name; });
  return found == kFormats.end() ? nullptr : found;
}

bool is_standard_format(std::string_view name) {
  return find_format(name) != nullptr ||
         std::find(kOtherStandardFormats.begin(), kOtherStandardFormats.end(), name) != kOtherStandardFormats.end();
}

}  // namespace infer::api
