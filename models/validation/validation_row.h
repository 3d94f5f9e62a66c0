// One line of `./verdigris validate`: a published figure, what the model gives for it, and how far apart they may be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace models {

enum class Basis : std::uint8_t {
    analytic,    // follows from a standard: equal to the last digit
    calibrated,  // a constant of the model was fitted to it
    predicted,   // nothing was
};

// Values are thousandths of the unit.
struct ValidationRow {
    std::string row;  // of the list of published results: "ethernet", "pcie", "3"
    std::string what;
    std::string unit;
    std::int64_t published = 0;
    std::int64_t simulated = 0;
    std::int64_t tolerance = 0;  // the largest difference
    Basis basis = Basis::predicted;
    std::string source;

    std::int64_t error() const { return simulated - published; }
    bool passed() const { return error() <= tolerance && -error() <= tolerance; }
};

using ValidationRows = std::vector<ValidationRow>;

constexpr std::int64_t percent_of(std::int64_t value, std::int64_t percent) {
    return (value < 0 ? -value : value) * percent / 100;
}

// Who makes rows, by the name that `validate ROW` takes.
struct ValidationSource {
    const char* row;
    const char* description;
    void (*add)(ValidationRows& rows);
};

void add_ethernet_rows(ValidationRows& rows);
void add_pcie_rows(ValidationRows& rows);
void add_dma_read_rows(ValidationRows& rows);            // row 3
void add_dma_write_rows(ValidationRows& rows);           // row 4
void add_dma_latency_rows(ValidationRows& rows);         // row 5
void add_remote_socket_rows(ValidationRows& rows);       // row 6
void add_iommu_rows(ValidationRows& rows);               // row 7
void add_polling_rows(ValidationRows& rows);             // row 9
void add_batch_rows(ValidationRows& rows);               // row 10
void add_moderation_rows(ValidationRows& rows);          // row 11
void add_receive_buffer_rows(ValidationRows& rows);      // row 12
void add_round_trip_rows(ValidationRows& rows);          // row 13
void add_frame_rate_rows(ValidationRows& rows);          // row 14
void add_synthetic_stream_rows(ValidationRows& rows);    // row 15
void add_vf_stream_rows(ValidationRows& rows);           // row 16
void add_root_core_rows(ValidationRows& rows);           // row 17
void add_exit_rows(ValidationRows& rows);                // row 18
void add_cpuid_rows(ValidationRows& rows);               // row 19
void add_exitless_interrupt_rows(ValidationRows& rows);  // row 21
void add_walk_rows(ValidationRows& rows);                // row 22
void add_vf_to_vf_rows(ValidationRows& rows);            // row 23
void add_revocation_rows(ValidationRows& rows);          // row 24
void add_consolidation_rows(ValidationRows& rows);       // row 25

}  // namespace models
