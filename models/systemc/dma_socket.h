// A device's DMA as TLM-2.0 transactions: the port of pci/dma.h with an initiator socket behind it. A message-signalled
// interrupt is a write of four bytes, as on the bus. Every transaction carries its function's identity.
//
// Requests take the link's bytes and its flight, then b_transport tells how long memory takes. A target that annotates
// its delay serves many requests at once, one that waits serves one after the other.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>

#include <cstdint>
#include <deque>
#include <map>
#include <systemc>
#include <vector>

#include "models/systemc/agenda_process.h"
#include "pci/dma.h"
#include "pci/link_rate.h"

namespace models::systemc {

// Who makes a transaction.
struct Requester final : tlm::tlm_extension<Requester> {
    pci::RequesterId id;
    tlm::tlm_extension_base* clone() const override;
    void copy_from(const tlm::tlm_extension_base& other) override { id = static_cast<const Requester&>(other).id; }
};

struct DmaSocketConfig {
    pci::LinkRate rate{.generation = 2, .lanes = 8};
    pci::PacketLimits limits;
    sim::Time flight = sim::Time::ns(75);  // one way, apart from the bytes' own time
    unsigned tags = 32;                    // reads on their way
    unsigned posted = 64;                  // writes on their way
};

class DmaSocket final : public sc_core::sc_module, public pci::DmaPort {
public:
    tlm_utils::simple_initiator_socket<DmaSocket> socket;

    DmaSocket(const sc_core::sc_module_name& name, AgendaProcess& process, const DmaSocketConfig& config);
    void connect(pci::DmaClient& client) { client_ = &client; }

    [[nodiscard]] bool read(pci::BusMaster& function, std::uint64_t address, std::uint32_t size,
                            std::uint32_t cookie) override;
    [[nodiscard]] bool write(pci::BusMaster& function, std::uint64_t address, std::span<const std::byte> data,
                             std::uint32_t cookie, bool notify) override;
    void message(pci::BusMaster& function, std::uint64_t address, std::uint32_t data) override;
    // What has not arrived yet is dropped, whether it has left or not: a transaction that a target keeps waiting cannot
    // be hurried.
    void forget(pci::BusMaster& function) override;
    void wake_at(sim::Time at) override { clock_.arm(at); }

private:
    struct Request {
        bool is_read = false;
        bool dropped = false;
        pci::RequesterId id;
        std::uint16_t place = 0;
        std::uint64_t address = 0;
        std::uint32_t cookie = 0;
        sc_core::sc_time arrives;
        std::vector<std::byte> data;
    };
    struct Answer {
        bool is_read = false;
        std::uint16_t place = 0;
        std::uint32_t cookie = 0;
        pci::DmaStatus status = pci::DmaStatus::ok;
        std::vector<std::byte> data;
    };

    sc_core::sc_time bytes_time(std::uint64_t bytes) const;
    sc_core::sc_time send_up(std::uint64_t bytes);
    void post(pci::BusMaster& function, std::uint64_t address, std::span<const std::byte> data);
    void refuse(pci::BusMaster& function, std::uint32_t cookie, bool is_read);
    void deliver();
    void carry_out(Request& request);
    void answer();

    AgendaProcess& process_;
    DmaSocketConfig config_;
    std::uint64_t byte_time_;  // in units of 2^-16 ps
    pci::DmaClient* client_ = nullptr;
    sc_core::sc_time up_free_, down_free_;
    std::deque<Request> requests_;                     // in the order of the calls
    std::multimap<sc_core::sc_time, Answer> answers_;  // by time
    unsigned reads_ = 0, writes_ = 0;
    bool starved_ = false;
    sc_core::sc_event requested_, answered_;
    sim::Timer clock_;
};

}  // namespace models::systemc
