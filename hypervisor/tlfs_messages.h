// TLFS chapter 11 (messages, event flags) and chapter 13 (message formats, among them the intercept messages that a
// parent receives about its child).
#pragma once

#include <cstdint>

#include "hypervisor/tlfs_registers.h"

namespace hypervisor {

enum class HvMessageType : std::uint32_t {
    none = 0x0000'0000,
    unmapped_gpa = 0x8000'0000,
    gpa_intercept = 0x8000'0001,
    timer_expired = 0x8000'0010,
    invalid_vp_register_value = 0x8000'0020,
    unrecoverable_exception = 0x8000'0021,
    unsupported_feature = 0x8000'0022,
    tlb_page_size_mismatch = 0x8000'0023,
    event_log_buffer_complete = 0x8000'0040,
    hypercall_intercept = 0x8000'0050,
    synic_event_intercept = 0x8000'0060,
    synic_sint_intercept = 0x8000'0061,
    synic_sint_deliverable = 0x8000'0062,
    x64_io_port_intercept = 0x8001'0000,
    x64_msr_intercept = 0x8001'0001,
    x64_cpuid_intercept = 0x8001'0002,
    x64_exception_intercept = 0x8001'0003,
    x64_apic_eoi = 0x8001'0004,
    x64_legacy_fp_error = 0x8001'0005,
    x64_register_intercept = 0x8001'0006,
    x64_halt = 0x8001'0007,
    x64_interruption_deliverable = 0x8001'0008,
    x64_sipi_intercept = 0x8001'0009,
};

// HV_MESSAGE_HEADER, at the start of each 256-byte slot of the message page; the payload follows.
struct HvMessageHeader {
    std::uint32_t message_type;
    std::uint8_t payload_size;
    std::uint8_t flags;
    std::uint16_t reserved;
    std::uint64_t origin;  // the sending port or partition
};
static_assert(sizeof(HvMessageHeader) == 16);
inline constexpr std::uint8_t message_flag_pending = 1u << 0;

// 240 payload bytes after the header: a slot of the message page.
struct HvMessage {
    HvMessageHeader header;
    std::uint8_t payload[240];
};
static_assert(sizeof(HvMessage) == 256);

// The event flags page: 16 areas of 2048 flags, one area for each SINT.
inline constexpr unsigned event_flags_per_sint = 2048;
inline constexpr unsigned event_flags_bytes = 256;

struct HvTimerMessagePayload {
    std::uint32_t timer_index;
    std::uint32_t reserved;
    std::uint64_t expiration_time;
    std::uint64_t delivery_time;
};
static_assert(sizeof(HvTimerMessagePayload) == 24);

enum class HvInterceptAccess : std::uint8_t { read = 0, write = 1, execute = 2 };

// HV_X64_INTERCEPT_MESSAGE_HEADER. Execution state: CPL 1:0, CR0.PE 2, CR0.AM 3, EFER.LMA 4, debug active 5,
// interruption pending 6, VTL 10:7, enclave 11, interrupt shadow 12.
struct HvX64InterceptMessageHeader {
    std::uint32_t vp_index;
    std::uint8_t instruction_length_and_cr8;  // length 3:0, CR8 7:4
    std::uint8_t intercept_access_type;
    std::uint16_t execution_state;
    HvX64SegmentRegister cs_segment;
    std::uint64_t rip;
    std::uint64_t rflags;
};
static_assert(sizeof(HvX64InterceptMessageHeader) == 40);

// Unmapped GPA and GPA intercept.
struct HvX64MemoryInterceptMessage {
    HvX64InterceptMessageHeader header;
    std::uint32_t cache_type;
    std::uint8_t instruction_byte_count;
    std::uint8_t memory_access_info;  // bit 0 GVA valid, bit 1 GVA-GPA valid
    std::uint8_t tpr_priority;
    std::uint8_t reserved;
    std::uint64_t guest_virtual_address;
    std::uint64_t guest_physical_address;
    std::uint8_t instruction_bytes[16];
};
static_assert(sizeof(HvX64MemoryInterceptMessage) == 80);

struct HvX64IoPortInterceptMessage {
    HvX64InterceptMessageHeader header;
    std::uint16_t port_number;
    std::uint8_t access_info;  // size 2:0, string 3, rep 4
    std::uint8_t instruction_byte_count;
    std::uint32_t reserved;
    std::uint64_t rax;
    std::uint8_t instruction_bytes[16];
    HvX64SegmentRegister ds_segment;
    HvX64SegmentRegister es_segment;
    std::uint64_t rcx;
    std::uint64_t rsi;
    std::uint64_t rdi;
};
static_assert(sizeof(HvX64IoPortInterceptMessage) == 128);

struct HvX64MsrInterceptMessage {
    HvX64InterceptMessageHeader header;
    std::uint32_t msr_number;
    std::uint32_t reserved;
    std::uint64_t rdx;
    std::uint64_t rax;
};
static_assert(sizeof(HvX64MsrInterceptMessage) == 64);

struct HvX64CpuidInterceptMessage {
    HvX64InterceptMessageHeader header;
    std::uint64_t rax, rcx, rdx, rbx;
    std::uint64_t default_result_rax, default_result_rcx, default_result_rdx, default_result_rbx;
};
static_assert(sizeof(HvX64CpuidInterceptMessage) == 104);

struct HvX64ExceptionInterceptMessage {
    HvX64InterceptMessageHeader header;
    std::uint16_t exception_vector;
    std::uint8_t exception_info;  // bit 0 error code valid
    std::uint8_t instruction_byte_count;
    std::uint32_t error_code;
    std::uint64_t exception_parameter;
    std::uint64_t reserved;
    std::uint8_t instruction_bytes[16];
    HvX64SegmentRegister ds_segment;
    HvX64SegmentRegister ss_segment;
    std::uint64_t gpr[16];  // RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15
};
static_assert(sizeof(HvX64ExceptionInterceptMessage) == 240);

struct HvX64HaltMessage {
    HvX64InterceptMessageHeader header;
};
static_assert(sizeof(HvX64HaltMessage) == 40);

// The guest's triple fault.
struct HvX64UnrecoverableExceptionMessage {
    HvX64InterceptMessageHeader header;
};
static_assert(sizeof(HvX64UnrecoverableExceptionMessage) == 40);

struct HvX64ApicEoiMessage {
    std::uint32_t vp_index;
    std::uint32_t interrupt_vector;
};
static_assert(sizeof(HvX64ApicEoiMessage) == 8);

struct HvX64SipiInterceptMessage {
    HvX64InterceptMessageHeader header;
    std::uint32_t target_vp_index;
    std::uint32_t vector;
};
static_assert(sizeof(HvX64SipiInterceptMessage) == 48);

struct HvInvalidVpRegisterMessage {
    std::uint32_t vp_index;
    std::uint32_t reserved;
};
static_assert(sizeof(HvInvalidVpRegisterMessage) == 8);

}  // namespace hypervisor
