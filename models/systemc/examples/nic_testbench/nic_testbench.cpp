// The adapter in somebody else's testbench: a memory, a processor that is one thread, a wire that sends back what it
// gets. The processor finds the adapter on its bus, makes two virtual functions, lets the first send a frame to the
// wire, and finds it in the second's descriptors. Prints what happened when, and fails if anything differs.
#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <systemc>
#include <vector>

#include "models/systemc/nic_module.h"
#include "pci/capability_registers.h"
#include "pci/config_registers.h"
#include "sriov_nic/physical_driver.h"
#include "sriov_nic/queue_driver.h"

namespace {

namespace nic = sriov_nic;
using models::systemc::NicModule;
using models::systemc::Requester;
using models::systemc::WireFrame;
using sc_core::sc_time;

constexpr std::uint64_t memory_bytes = 16u << 20, message_address = 0xfee0'0000;
constexpr nic::MacKey physical_mac = 0xf000'0000'0002, first_mac = 0x0100'0000'0002, second_mac = 0x0200'0000'0002,
                      stranger = 0xee00'0000'0002;
constexpr std::size_t frame_bytes = 1000;

unsigned failures = 0;
void expect(bool good, const char* what) {
    if (good) return;
    ++failures;
    std::printf("WRONG: %s\n", what);
}
double now_ns() {
    return sc_core::sc_time_stamp().to_seconds() * 1e9;
}

// Memory that answers after 90 ns, and next to it where interrupt messages end.
struct Memory final : sc_core::sc_module {
    tlm_utils::simple_target_socket<Memory> socket{"socket"};
    sc_core::sc_event interrupt{"interrupt"};
    std::vector<std::byte> bytes = std::vector<std::byte>(memory_bytes);
    std::vector<std::uint16_t> readers;  // requester identities
    std::uint16_t interrupter = 0;
    std::uint32_t vector = 0;

    explicit Memory(const sc_core::sc_module_name& module_name) : sc_module(module_name) {
        socket.register_b_transport(this, &Memory::transport);
    }
    void transport(tlm::tlm_generic_payload& transaction, sc_time& delay) {
        const std::uint64_t at = transaction.get_address(), length = transaction.get_data_length();
        Requester* who = nullptr;
        transaction.get_extension(who);
        transaction.set_response_status(tlm::TLM_OK_RESPONSE);
        delay += sc_time(90, sc_core::SC_NS);
        if (at == message_address && transaction.is_write() && length == 4) {
            std::memcpy(&vector, transaction.get_data_ptr(), 4);
            interrupter = who != nullptr ? who->id.value : 0xffff;
            interrupt.notify(delay);
        } else if (at > bytes.size() || length > bytes.size() - at) {
            transaction.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
        } else if (transaction.is_write()) {
            std::memcpy(&bytes[at], transaction.get_data_ptr(), length);
        } else {
            std::memcpy(transaction.get_data_ptr(), &bytes[at], length);
            if (who != nullptr) readers.push_back(who->id.value);
        }
    }
};

// A loop of a metre of cable: what is sent comes back, to the second virtual function.
struct Loop final : sc_core::sc_module, tlm::tlm_analysis_if<WireFrame> {
    tlm::tlm_analysis_port<WireFrame> back{"back"};
    std::vector<WireFrame> seen;

    explicit Loop(const sc_core::sc_module_name& module_name) : sc_module(module_name), flight_("flight") {
        SC_HAS_PROCESS(Loop);
        SC_METHOD(arrive);
        sensitive << flight_;
        dont_initialize();
    }
    void write(const WireFrame& frame) override {
        seen.push_back(frame);
        flight_.notify(sc_time(5, sc_core::SC_NS));
    }

private:
    void arrive() {
        WireFrame frame = seen.back();
        std::memcpy(frame.bytes.data(), &second_mac, 6);
        std::memcpy(&frame.bytes[6], &stranger, 6);
        back.write(frame);
    }
    sc_core::sc_event flight_;
};

struct Processor final : sc_core::sc_module {
    tlm_utils::simple_initiator_socket<Processor> registers{"registers"}, configuration{"configuration"};

    Processor(const sc_core::sc_module_name& module_name, Memory& m, Loop& l, NicModule& n)
        : sc_module(module_name), memory(m), loop(l), adapter(n) {
        SC_HAS_PROCESS(Processor);
        SC_THREAD(program);
    }
    bool finished = false;

private:
    using Socket = tlm_utils::simple_initiator_socket<Processor>;
    // Registers of one function, as its driver sees them.
    struct Bar final : nic::RegisterPort {
        Bar(Processor& p, std::uint64_t b) : processor(p), base(b) {}
        std::uint32_t read_register(std::uint32_t offset) override {
            return static_cast<std::uint32_t>(
                processor.access(processor.registers, tlm::TLM_READ_COMMAND, base + offset, 4, 0));
        }
        void write_register(std::uint32_t offset, std::uint32_t value) override {
            (void)processor.access(processor.registers, tlm::TLM_WRITE_COMMAND, base + offset, 4, value);
        }
        Processor& processor;
        std::uint64_t base;
    };

    std::uint64_t access(Socket& socket, tlm::tlm_command command, std::uint64_t address, unsigned size,
                         std::uint64_t value) {
        tlm::tlm_generic_payload transaction;
        transaction.set_command(command);
        transaction.set_address(address);
        transaction.set_data_ptr(reinterpret_cast<unsigned char*>(&value));
        transaction.set_data_length(size);
        transaction.set_streaming_width(size);
        sc_time delay = sc_core::SC_ZERO_TIME;
        socket->b_transport(transaction, delay);
        expect(transaction.is_response_ok(), "an access of the processor's");
        wait(delay);
        return value;
    }
    std::uint32_t get(unsigned function, unsigned offset, unsigned size) {
        return static_cast<std::uint32_t>(
            access(configuration, tlm::TLM_READ_COMMAND, function << 12 | offset, size, 0));
    }
    void set(unsigned function, unsigned offset, unsigned size, std::uint64_t value) {
        (void)access(configuration, tlm::TLM_WRITE_COMMAND, function << 12 | offset, size, value);
    }
    void set_wide(unsigned function, unsigned offset, std::uint64_t value) {
        set(function, offset, 4, value & 0xffff'ffff);
        set(function, offset + 4, 4, value >> 32);
    }

    void program();
    void find_adapter();
    void start_physical_function(Bar& bar);
    void send_and_receive();

    static constexpr std::uint64_t physical_bar = 0x80'0000'0000, msix_bar = 0x80'0100'0000, vf_bar = 0x80'0200'0000,
                                   vf_msix_bar = 0x80'0300'0000, vf_msix_bytes = 0x4000;
    static constexpr unsigned sriov_at = 0x160, msix_at = 0x70, first_vf = 0x80, second_vf = 0x82;
    Memory& memory;
    Loop& loop;
    NicModule& adapter;
};

void Processor::program() {
    find_adapter();
    Bar physical{*this, physical_bar};
    start_physical_function(physical);
    send_and_receive();
    finished = true;
    sc_core::sc_stop();
}

// What firmware and a bus driver do.
void Processor::find_adapter() {
    namespace sriov = pci::sriov;
    expect(get(0, 0, 4) == 0x10fb'8086, "the adapter's identity");
    expect(get(8, 0, 4) == 0xffff'ffff, "nobody at another place");
    set_wide(0, pci::header::bar0, physical_bar);
    set_wide(0, pci::header::bar0 + 16, msix_bar);
    set_wide(0, sriov_at + sriov::vf_bar0, vf_bar);
    set_wide(0, sriov_at + sriov::vf_bar0 + 12, vf_msix_bar);
    set(0, pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
    set(0, sriov_at + sriov::num_vfs, 2, 2);
    set(0, sriov_at + sriov::control, 2, sriov::ari_capable_hierarchy | sriov::vf_enable | sriov::vf_memory_space);
    for (const unsigned function : {first_vf, second_vf}) {
        set(function, pci::header::command, 2, pci::command::bus_master);
    }
}

// The driver that a real adapter has in its host; it touches nothing but registers.
void Processor::start_physical_function(Bar& bar) {
    nic::PhysicalDriver driver{adapter.simulation().scope("driver"), bar};
    for (unsigned vf = 0; vf < 2; ++vf) {
        nic::VfPolicy policy;
        policy.kind = nic::VfKind::hyper_v;
        policy.mac = vf == 0 ? first_mac : second_mac;
        driver.set_policy(vf, policy);
    }
    nic::PhysicalSettings settings;
    settings.mac = physical_mac;
    settings.vfs = 2;
    driver.start(settings);
    for (unsigned vf = 0; vf < 2; ++vf) driver.enable_hyper_v(vf);
    std::printf("%10.1f ns  two virtual functions are ready\n", now_ns());
}

void Processor::send_and_receive() {
    constexpr std::uint32_t transmit_control = 8u << 16 | 1u << 8 | 32, receive_control = 0x8000 | 1522;
    Bar first{*this, vf_bar}, second{*this, vf_bar + nic::virtual_bar_bytes};
    const auto at = [](std::uint64_t base) { return nic::QueueDriverLayout{base, 64, 64, 2048}; };
    const auto layout_a = at(0x10'0000), layout_b = at(0x80'0000);
    nic::QueueDriver sender{first, std::span{memory.bytes}.subspan(layout_a.base, layout_a.bytes()), layout_a, 0};
    nic::QueueDriver receiver{second, std::span{memory.bytes}.subspan(layout_b.base, layout_b.bytes()), layout_b, 0};
    sender.open(transmit_control, receive_control, 0);
    receiver.open(transmit_control, receive_control, 0);
    // MSI-X vector 0 of the second: to our message address with data 0x41.
    const std::uint64_t entry = vf_msix_bar + vf_msix_bytes;
    (void)access(registers, tlm::TLM_WRITE_COMMAND, entry, 8, message_address);
    (void)access(registers, tlm::TLM_WRITE_COMMAND, entry + 8, 8, 0x41);
    set(second_vf, msix_at + pci::msix_cap::control, 2, pci::msix_cap::enable);
    wait(sc_time(20, sc_core::SC_US));  // receive descriptors are fetched

    memory.readers.clear();
    std::vector<std::byte> frame(frame_bytes);
    for (std::size_t n = 0; n < frame.size(); ++n) frame[n] = static_cast<std::byte>(n * 7);
    std::memcpy(frame.data(), &stranger, 6);
    std::memcpy(&frame[6], &first_mac, 6);
    frame[12] = std::byte{0x88}, frame[13] = std::byte{0xb5};  // IEEE: for experiments
    expect(sender.send(frame), "room in the ring");
    const sc_time rung = sc_core::sc_time_stamp();
    std::printf("%10.1f ns  the first rings its doorbell for %zu bytes\n", now_ns(), frame.size());
    sender.notify();
    wait(sc_time(50, sc_core::SC_US), memory.interrupt);
    const sc_time interrupted = sc_core::sc_time_stamp();

    expect(loop.seen.size() == 1 && loop.seen[0].bytes == frame, "the frame on the wire");
    if (loop.seen.size() != 1) return;
    const auto after_ns = [&](const sc_time& t) { return (t - rung).to_seconds() * 1e9; };
    const double start = after_ns(loop.seen[0].start), end = after_ns(loop.seen[0].end);
    std::printf("%+10.1f ns  its first bit is on the wire\n%+10.1f ns  its last\n", start, end);
    std::printf("%+10.1f ns  interrupt 0x%x of function 0x%x\n", after_ns(interrupted), memory.vector,
                memory.interrupter);
    // Descriptor and data are one read after the other: twice the link there and back and 90 ns of memory, and the
    // bytes' time on the link. 1000 bytes with FCS, preamble and gap take 1024 times 0.8 ns at 10 Gb/s.
    expect(start > 2 * (150 + 90) && start < 2000, "a plausible time to the wire");
    expect(loop.seen[0].end - loop.seen[0].start == sc_time(819'200, sc_core::SC_PS), "the wire's rate");
    expect(after_ns(interrupted) > end + 75 && after_ns(interrupted) < end + 3000, "a plausible time to the interrupt");
    expect(memory.vector == 0x41 && memory.interrupter == second_vf, "the second's interrupt");
    expect(memory.readers.size() >= 2 && std::ranges::all_of(memory.readers, [](auto r) { return r == first_vf; }),
           "the first reads under its own name");
    const auto got = receiver.receive();
    const bool same =
        got.bytes.size() == frame.size() && std::equal(got.bytes.begin() + 12, got.bytes.end(), &frame[12]);
    expect(same, "the frame in the second's memory");
    wait(sc_time(20, sc_core::SC_US));
    expect(sender.reclaim() == 1, "the first's descriptor is done");
}

}  // namespace

int main() {
    Memory memory{"memory"};
    NicModule adapter{"nic"};
    Loop loop{"loop"};
    Processor processor{"processor", memory, loop, adapter};
    processor.registers.bind(adapter.memory);
    processor.configuration.bind(adapter.configuration);
    adapter.dma().bind(memory.socket);
    adapter.sent.bind(loop);
    loop.back.bind(adapter.received);
    sc_core::sc_start(sc_time(10, sc_core::SC_MS));
    expect(processor.finished, "the program came to its end");
    std::printf(failures == 0 ? "all as expected\n" : "%u things were wrong\n", failures);
    return failures == 0 ? 0 : 1;
}
