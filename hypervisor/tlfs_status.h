// TLFS appendix B: hypercall status codes; and the constants that every chapter uses.
#pragma once

#include <cstdint>

namespace hypervisor {

inline constexpr std::uint64_t hv_page_size = 4096;
inline constexpr unsigned hv_page_shift = 12;

inline constexpr std::uint64_t hv_partition_id_invalid = 0;
inline constexpr std::uint64_t hv_partition_id_self = ~0ull;
inline constexpr std::uint32_t hv_vp_index_self = 0xffff'fffe;
inline constexpr std::uint32_t hv_any_vp = 0xffff'ffff;

enum class HvStatus : std::uint16_t {
    success = 0x00,
    invalid_hypercall_code = 0x02,
    invalid_hypercall_input = 0x03,
    invalid_alignment = 0x04,
    invalid_parameter = 0x05,
    access_denied = 0x06,
    invalid_partition_state = 0x07,
    operation_denied = 0x08,
    unknown_property = 0x09,
    property_value_out_of_range = 0x0a,
    insufficient_memory = 0x0b,
    partition_too_deep = 0x0c,
    invalid_partition_id = 0x0d,
    invalid_vp_index = 0x0e,
    not_found = 0x10,
    invalid_port_id = 0x11,
    invalid_connection_id = 0x12,
    insufficient_buffers = 0x13,
    not_acknowledged = 0x14,
    invalid_vp_state = 0x15,
    acknowledged = 0x16,
    invalid_save_restore_state = 0x17,
    invalid_synic_state = 0x18,
    object_in_use = 0x19,
    invalid_proximity_domain_info = 0x1a,
    no_data = 0x1b,
    inactive = 0x1c,
    no_resources = 0x1d,
    feature_unavailable = 0x1e,
    partial_packet = 0x1f,
    processor_feature_not_supported = 0x20,
    insufficient_buffer = 0x33,
    invalid_lp_index = 0x41,
    invalid_register_value = 0x50,
    invalid_device_id = 0x57,
    invalid_device_state = 0x58,
    operation_failed = 0x71,
    time_out = 0x78,
    call_pending = 0x79,
    unknown_register_name = 0x87,
};

}  // namespace hypervisor
