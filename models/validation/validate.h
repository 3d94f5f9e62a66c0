// `./verdigris validate`: makes the rows and prints them.
#pragma once

#include <string>

#include "models/validation/validation_row.h"

namespace models {

enum class ValidationFormat : std::uint8_t { table, csv, json, markdown };

// All rows, or those of one source; none of that name: no rows.
ValidationRows validation_rows(const std::string& row);
// "ethernet, pcie, 3, ...".
std::string validation_names();
std::string validation_text(const ValidationRows& rows, ValidationFormat format);
// Prints to standard output. 0: every row is within its tolerance; 1: one is not; 2: there is no such row.
int validate(const std::string& row, const std::string& format);

}  // namespace models
