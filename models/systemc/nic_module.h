// The network adapter as a SystemC module of its own, for anybody's TLM-2.0 testbench: two target sockets for software,
// an initiator socket for its DMA and interrupt messages, analysis ports for the wire. No host of ours is behind it.
#pragma once

#include <tlm_utils/simple_target_socket.h>

#include <cstddef>
#include <deque>
#include <systemc>
#include <vector>

#include "models/systemc/agenda_process.h"
#include "models/systemc/dma_socket.h"
#include "pci/bus.h"
#include "sim/simulation.h"
#include "sriov_nic/adapter.h"

namespace models::systemc {

// An Ethernet frame without its FCS.
struct WireFrame {
    std::vector<std::byte> bytes;
    sc_core::sc_time start;  // of the preamble's first bit
    sc_core::sc_time end;    // of the FCS's last
};

struct NicConfig {
    DmaSocketConfig link;
    sriov_nic::Profile profile;
    std::uint64_t seed = 1;
};

class NicModule final : public sc_core::sc_module,
                        public tlm::tlm_analysis_if<WireFrame>,
                        private pci::Upstream,
                        private sriov_nic::Wire {
public:
    // Memory cycles with addresses of the bus: as the functions' BARs have been programmed. 1, 2, 4 or 8 bytes,
    // naturally aligned. Nobody's address reads all ones, with an address error.
    tlm_utils::simple_target_socket<NicModule> memory;
    // Configuration cycles, addressed as in the enhanced window: bus << 20 | device and function << 12 | register. The
    // physical function is 0 on bus 0, its virtual functions come where its SR-IOV capability says.
    tlm_utils::simple_target_socket<NicModule> configuration;
    // What the adapter has sent, when its last bit is out. Need not be bound.
    tlm::tlm_analysis_port<WireFrame> sent;
    // A frame for it, when its last bit has arrived.
    sc_core::sc_export<tlm::tlm_analysis_if<WireFrame>> received;

    explicit NicModule(const sc_core::sc_module_name& name, const NicConfig& config = {});
    ~NicModule() override;

    // DMA and interrupt messages, each with a Requester.
    tlm_utils::simple_initiator_socket<DmaSocket>& dma() { return dma_.socket; }
    // The cable is in, or not. It is, at first.
    void set_link(bool up);
    // What is no register: the address that a Hyper-V guest finds in configuration space, counters, traces.
    sriov_nic::Adapter& adapter() { return adapter_; }
    sim::Simulation& simulation() { return simulation_; }

private:
    void transport_memory(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay);
    void transport_configuration(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay);
    void begin(sc_core::sc_time& delay);
    void end(bool is_read, unsigned size, sc_core::sc_time& delay);

    // tlm_analysis_if
    void write(const WireFrame& frame) override;
    // sriov_nic::Wire
    void transmit(std::span<const std::byte> frame, sim::Time start, sim::Time end) override;
    void send_frames();
    void take_frames();

    // pci::Upstream. Nothing comes this way: all that the adapter sends goes by the DMA socket.
    pci::DmaStatus dma_read(pci::RequesterId, std::uint64_t, std::span<std::byte>) override;
    pci::DmaStatus dma_write(pci::RequesterId, std::uint64_t, std::span<const std::byte>) override;
    void message(const pci::InterruptMessage&) override {}
    void line(unsigned, bool) override {}  // INTx is not wired

    sim::Simulation simulation_;
    NicConfig config_;
    AgendaProcess process_;
    DmaSocket dma_;
    pci::Bus bus_;
    sriov_nic::Adapter adapter_;
    std::deque<WireFrame> outgoing_, incoming_;
    sc_core::sc_event out_, in_;
};

}  // namespace models::systemc
