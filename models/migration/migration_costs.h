// What moving a partition takes of the roots' processors.
#pragma once

#include "sim/time.h"

namespace models {

struct MigrationCosts {
    sim::Time page_sent;
    sim::Time page_received;
    sim::Time query;       // a call for access states
    sim::Time query_page;  // each page in it
};

}  // namespace models
