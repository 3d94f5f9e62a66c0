// The guest's side of a synthetic network adapter, for guests that execute no instructions: it brings the adapter up as
// Linux' hv_netvsc does, message by message, and moves frames by the same sections, pages and packets. Its work is
// charged to the guest's processors.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sim/processor.h"
#include "sim/scope.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/costs.h"
#include "vmbus/network/ndis.h"
#include "vmbus/network/network_port.h"
#include "vmbus/network/nvsp.h"
#include "vmbus/network/rndis.h"
#include "vmbus/page_list.h"

namespace vmbus {

// The guest's network stack.
class NetworkClientUser {
public:
    virtual ~NetworkClientUser() = default;
    virtual void ready() {}
    virtual void down() {}
    virtual void receive(std::uint16_t queue, std::span<IncomingFrame> frames) = 0;
    // transmit() refused a frame, and would take it now.
    virtual void room() {}
    virtual void link_changed(bool up) { (void)up; }
    virtual void network_changed() {}
    virtual void vf_changed(bool allocated, std::uint32_t serial) { (void)allocated, (void)serial; }
    virtual void data_path_switched() {}
};

// Frames as the guest counts them: received, or sent and completed.
struct ClientCount {
    std::uint64_t frames = 0;
    std::uint64_t bytes = 0;
    std::uint64_t errors = 0;

    friend constexpr bool operator==(const ClientCount&, const ClientCount&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(frames, bytes, errors);
    }
};

class NetworkClient final : public ChannelDriver {
public:
    struct Config {
        std::uint32_t newest_version = nvsp::version_6_1;
        std::uint32_t oldest_version = nvsp::version_1;
        std::uint32_t mtu = 1500;
        std::uint16_t channels = 1;       // wanted; the host may grant fewer
        std::uint16_t most_channels = 1;  // if reattach() is to ask for more than that
        std::uint64_t receive_pages = 4096;
        std::uint64_t send_pages = 256;
        OffloadSettings offloads = OffloadSettings::all(false);  // wanted, as far as the host has them
        std::uint32_t filter = 0xd;
        std::array<std::uint8_t, 40> rss_key{};
        ClientChannel::RingPages ring_pages{128, 128};
        std::uint32_t virtual_processors = 1;  // a channel's interrupts go to that of its number, in turn
        std::uint32_t batch = 64;
        std::uint32_t backlog = 1024;  // frames that wait in each channel
        Costs costs;
        sim::Time interrupt = sim::Time::us(1);
        sim::Time per_frame = sim::Time::ns(300);
    };
    static constexpr std::uint16_t largest_channel_count = 64;
    using ProcessorOfQueue = std::function<sim::Processor&(std::uint16_t)>;

    NetworkClient(const sim::Scope& scope, BusClient& bus, NetworkClientUser& user, const Config& config,
                  const ProcessorOfQueue& processor);
    ~NetworkClient() override;
    NetworkClient(const NetworkClient&) = delete;
    NetworkClient& operator=(const NetworkClient&) = delete;

    // The bus offers a channel of this adapter's: it is opened.
    void offered(ClientChannel& channel);

    // The queue is chosen by the frame's hash, as the host's send table says. False: the adapter is not up, or too much
    // waits already; room() tells.
    [[nodiscard]] bool transmit(OutgoingFrame&& frame);
    // Takes the adapter down and up again with other settings. (Linux' way to change MTU or number of channels.)
    void reattach(std::uint32_t mtu, std::uint16_t channels);
    void detach();
    // Asks the host to switch; data_path_switched() tells.
    void switch_data_path(bool to_virtual_function);
    // Asks for another address; the host's status comes with address_status().
    void set_address(const NetworkAddress& address);

    bool is_up() const { return state_.step == Step::up; }
    std::uint32_t version() const { return state_.version; }
    std::uint16_t channels() const { return state_.channels; }
    const NetworkAddress& address() const { return state_.address; }
    std::uint32_t mtu() const { return state_.mtu; }
    std::uint64_t bits_per_second() const { return state_.bits_per_second; }
    bool link_up() const { return state_.link_up; }
    // What is on: what the host has and the guest wants.
    const OffloadSettings& offloads() const { return state_.offloads; }
    std::optional<std::uint32_t> address_status() const { return state_.address_status; }
    ClientCount sent() const;
    ClientCount received() const;
    const ClientCount& sent(std::uint16_t queue) const;
    const ClientCount& received(std::uint16_t queue) const;
    // What the host did against the protocol.
    std::uint64_t host_errors() const { return state_.host_errors; }

    // ChannelDriver
    void opened(ClientChannel& channel, std::uint32_t status) override;
    void signalled(ClientChannel& channel) override;
    void gpadl_created(ClientChannel& channel, std::uint32_t gpadl, std::uint32_t status) override;
    void gpadl_torn_down(ClientChannel& channel, std::uint32_t gpadl) override;
    void rescinded(ClientChannel& channel) override;

    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);

private:
    class Queue;
    friend class Queue;

    // In the order of bringing up; then of taking down.
    enum class Step : std::uint8_t {
        closed,
        agree,
        receive_gpadl,
        receive_buffer,
        send_gpadl,
        send_buffer,
        initialize,
        frame_size,
        address,
        offload_capabilities,
        offload_parameters,
        media_status,
        link_speed,
        rss_capabilities,
        sub_channels,
        sub_channels_open,
        rss_off,
        rss_on,
        filter,
        up,
        halt,
        drain,
        tear_down,
        failed,
    };

    struct Buffer {
        std::vector<std::uint64_t> pages;
        std::uint32_t gpadl = 0;
        std::uint32_t section_bytes = 0;
        std::uint32_t sections = 0;

        friend bool operator==(const Buffer&, const Buffer&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(pages, gpadl, section_bytes, sections);
        }
    };
    struct State {
        Step step = Step::closed;
        bool open_again = false;
        bool refused = false;  // somebody waits for room()
        std::uint32_t wanted_mtu = 1500;
        std::uint16_t wanted_channels = 1;
        std::uint32_t filter = 0;
        std::uint32_t version = 0;
        std::uint32_t mtu = 1500;
        std::uint16_t channels = 1;
        std::uint16_t opened = 0;
        Buffer receive;
        Buffer send;
        std::vector<std::uint32_t> free_sections;
        std::vector<std::uint64_t> control_page;
        std::uint32_t request = 0;  // of RNDIS, the last
        std::uint32_t packets_per_message = 1;
        std::uint32_t alignment = 8;
        NetworkAddress address;
        std::optional<NetworkAddress> address_asked;
        std::uint32_t address_request = 0;
        std::optional<std::uint32_t> address_status;
        OffloadSettings offloads;
        bool link_up = true;
        std::uint64_t bits_per_second = 0;
        std::uint16_t rss_entries = 128;
        std::array<std::uint32_t, nvsp::send_table_entries> send_table{};
        std::uint64_t host_errors = 0;

        template <class Archive>
        void fields(Archive& archive) {
            archive(step, open_again, refused, wanted_mtu, wanted_channels, filter, version, mtu, channels, opened,
                    receive, send, free_sections, control_page, request, packets_per_message, alignment, address,
                    address_asked, address_request, address_status, offloads, link_up, bits_per_second, rss_entries,
                    send_table, host_errors);
        }
    };

    // network_client_control.cpp: up and down
    void start(Step step);
    void fail();
    void ask_version(std::uint32_t version);
    bool make_buffer(Buffer& buffer, PageList& list, std::uint64_t pages);
    void completed(nvsp::MessageType request, std::span<const std::byte> payload);
    void control_received(std::span<const std::byte> message);
    void indicated(std::span<const std::byte> message);
    void replied(const rndis::Header& header, std::span<const std::byte> message);
    void inband_received(std::span<const std::byte> message);
    void query(ndis::Oid oid, std::span<const std::byte> information = {});
    void set(ndis::Oid oid, std::span<const std::byte> information);
    void send_rndis(std::span<const std::byte> message);
    void send_rss(bool enable);
    void send_offloads();
    void sub_channel_open();
    void sends_drained();
    void release_buffers();
    void forget();

    std::uint16_t queue_for(const OutgoingFrame& frame) const;
    Queue& queue_of(const ClientChannel& channel);
    Queue& primary() { return *queues_.front(); }

    sim::Scope scope_;
    BusClient& bus_;
    NetworkClientUser& user_;
    Config config_;
    State state_;
    PageList receive_list_;
    PageList send_list_;
    std::vector<std::unique_ptr<Queue>> queues_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
