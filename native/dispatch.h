// Which instruction sets this build and this processor have.
#pragma once

#include <string>
#include <vector>

#include "table.h"

namespace pocketseek {

std::vector<std::string> supported_sets();            // slowest first
const KernelTable* find_table(const std::string& name);  // null if unknown or not supported here
const KernelTable& table_for(const std::string& name);   // throws std::invalid_argument

}  // namespace pocketseek
