#include "python/trace_views.h"

#include <algorithm>
#include <array>

#include "cpu/control_block.h"
#include "sriov_nic/core.h"

namespace python {

namespace {

// By name, so that it can be searched.
constexpr std::array views{
    View{"assert_interrupt", Shape::instant, "mode vector"},
    View{"bar_write", Shape::instant, "bar offset value"},
    View{"child_hypercall", Shape::instant, "control status repetitions"},
    View{"cmos_write", Shape::instant, "index value"},
    View{"config_write", Shape::instant, "offset size value"},
    View{"console", Shape::instant, "characters"},
    View{"device_interrupt", Shape::instant, "device address data known"},
    View{"device_read", Shape::instant, "gpa bytes value"},
    View{"device_write", Shape::instant, "gpa bytes value"},
    View{"dma_read", Shape::lasted, "function address bytes took_ps", 0, "DMA read"},
    View{"dma_write", Shape::instant, "function address bytes"},
    View{"exit", Shape::instant, "code rip info1 info2"},
    View{"fault", Shape::instant, "requester address write reason"},
    View{"gpadl", Shape::instant, "channel number pages"},
    View{"guest_state", Shape::instant, "state exit_code"},
    View{"hypercall", Shape::instant, "partition code status repetitions first_word"},
    View{"interrupt", Shape::instant, "vector"},
    View{"line", Shape::level, "line level", 0, "interrupt line"},
    View{"link", Shape::instant, "up"},
    View{"mailbox", Shape::instant, "vf message granted"},
    View{"memory.status", Shape::figures, "available_pages committed_pages"},
    View{"message", Shape::instant, "requester address data"},
    View{"message_in", Shape::instant, "type bytes word0 word1"},
    View{"message_out", Shape::instant, "type bytes word0 word1"},
    View{"msix", Shape::instant, "vector cause"},
    View{"network_drop", Shape::instant, "reason frames"},
    View{"network_from_guest", Shape::instant, "queue frames bytes"},
    View{"network_to_guest", Shape::instant, "queue frames bytes"},
    View{"opened", Shape::instant, "channel vp ring_split pages"},
    View{"packet", Shape::packet, "end queue bytes"},
    View{"packet_in", Shape::instant, "channel type bytes transaction"},
    View{"packet_out", Shape::instant, "channel type bytes transaction"},
    View{"partition", Shape::partition, "id vps memory_bytes"},
    View{"pin", Shape::level, "pin level", 0, "pin"},
    View{"port.event", Shape::instant, "partition connection to_partition port flag"},
    View{"port.message", Shape::instant, "partition connection to_partition port type bytes"},
    View{"signal_in", Shape::instant, "connection"},
    View{"signal_out", Shape::instant, "channel vp"},
    View{"socket.receive", Shape::instant, "socket bytes"},
    View{"socket.send", Shape::instant, "socket bytes"},
    View{"stimer", Shape::instant, "timer expiration"},
    View{"storage_answer", Shape::end, "channel transaction", 1, "storage request"},
    View{"storage_io", Shape::begin, "transaction channel operation", 0, "I/O of the guest"},
    View{"storage_io_done", Shape::end, "transaction status bytes", 0, "I/O of the guest"},
    View{"storage_request", Shape::begin, "channel transaction operation", 1, "storage request"},
    View{"switch_drop", Shape::instant, "port reason"},
    View{"switch_frame", Shape::instant, "from to bytes"},
    View{"synic_event", Shape::instant, "sint flag"},
    View{"synic_message", Shape::instant, "sint type origin"},
    View{"tcp_ended", Shape::instant, "connection end received sent"},
    View{"turn", Shape::turn, "lp partition vp start_ps length_ps"},
    View{"vf_enable", Shape::instant, "functions"},
    View{"wire_frame", Shape::instant, "bytes"},
    View{"wrmsr", Shape::instant, "msr value"},
};
static_assert(std::ranges::is_sorted(views, {}, &View::kind));

struct ExitName {
    cpu::ExitCode code;
    std::string_view name;
};
constexpr ExitName exit_names[] = {
    {cpu::ExitCode::interrupt_window, "interrupt window"},
    {cpu::ExitCode::cr8_read, "CR8 read"},
    {cpu::ExitCode::cr8_write, "CR8 write"},
    {cpu::ExitCode::rdpmc, "RDPMC"},
    {cpu::ExitCode::cpuid, "CPUID"},
    {cpu::ExitCode::iret, "IRET"},
    {cpu::ExitCode::invd, "INVD"},
    {cpu::ExitCode::pause, "PAUSE"},
    {cpu::ExitCode::halt, "HLT"},
    {cpu::ExitCode::io, "I/O"},
    {cpu::ExitCode::msr, "MSR"},
    {cpu::ExitCode::shutdown, "shutdown"},
    {cpu::ExitCode::hypercall, "hypercall"},
    {cpu::ExitCode::wbinvd, "WBINVD"},
    {cpu::ExitCode::xsetbv, "XSETBV"},
    {cpu::ExitCode::nested_fault, "nested fault"},
};

constexpr std::string_view sent_stages[] = {"descriptor and data", "transmit path", "wait for the way out",
                                            "on the way out"};
constexpr std::string_view received_stages[] = {"receive path", "to memory"};

}  // namespace

const View* find_view(std::string_view kind) {
    const auto found = std::ranges::lower_bound(views, kind, {}, &View::kind);
    return found != views.end() && found->kind == kind ? &*found : nullptr;
}

std::string_view word_name(const View& view, unsigned index) {
    std::string_view rest = view.words;
    for (; index != 0 && !rest.empty(); --index) {
        const auto space = rest.find(' ');
        rest = space == std::string_view::npos ? std::string_view{} : rest.substr(space + 1);
    }
    return rest.substr(0, rest.find(' '));
}

std::string_view exit_name(std::uint64_t code) {
    for (const ExitName& row : exit_names) {
        if (static_cast<std::uint64_t>(row.code) == code) return row.name;
    }
    return {};
}

std::span<const std::string_view> packet_stages(std::uint64_t end) {
    if (end == static_cast<std::uint64_t>(sriov_nic::PacketEnd::memory)) return received_stages;
    return sent_stages;
}

}  // namespace python
