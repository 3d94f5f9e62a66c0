// Key-value exchange (KVP): the host reads and writes pools of keys at the guest, and its adapters' addresses.
// On Linux a daemon answers, so answers take their time; until it runs the driver does not even agree on a version.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vmbus/integration/ic_service.h"

namespace vmbus {

enum class KeyValuePool : std::uint8_t {
    external,       // set by the host
    guest,          // set inside the guest, for the host
    automatic,      // what the guest's system says of itself: OSName, NetworkAddressIPv4, ...
    auto_external,  // the host's name and the like
};

struct KeyValue {
    std::string key;
    std::string value;

    bool operator==(const KeyValue&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(key, value);
    }
};

// Of one adapter; several addresses in one text are separated by ';'.
struct IpSettings {
    // "{GUID}" of the adapter's offer, as the guest's driver shows it. To ask Linux for its addresses: the adapter's
    // hardware address in capital letters.
    std::string adapter;
    std::uint8_t family = 1;  // 1 IPv4, 2 IPv6, 3 both
    bool dhcp = false;
    std::string addresses;
    std::string subnets;
    std::string gateways;
    std::string name_servers;

    bool operator==(const IpSettings&) const = default;
};

struct KeyValueResult {
    RequestOutcome outcome = RequestOutcome::answered;
    std::uint32_t status = 0;  // of the guest; an enumeration ends well with "no more items", shown as 0
    std::vector<KeyValue> items;
    IpSettings ip;

    bool ok() const { return outcome == RequestOutcome::answered && status == ic::status::ok; }
};

class KeyValueListener {
public:
    virtual void key_value_answered(std::uint32_t request, const KeyValueResult& result) = 0;

protected:
    ~KeyValueListener() = default;
};

class KeyValueExchange final : private ic::User {
public:
    static constexpr Guid instance = guid("242ff919-07db-4180-9c2e-b86cb68c8c55");
    // Of UTF-16, with the zero at the end.
    static constexpr std::size_t longest_key_bytes = 512;
    static constexpr std::size_t longest_value_bytes = 2048;
    // An enumeration stops here even if the guest goes on.
    static constexpr std::uint32_t most_items = 1024;

    KeyValueExchange(const sim::Scope& scope, const ServiceHost& host, KeyValueListener* listener = nullptr);

    // Each asks the guest; the answer comes to the listener with the number returned here. A key or value that is too
    // long throws sim::UserError.
    // Linux's own driver cannot carry out `get` (its daemon is not told the size of the value); `list` gets all.
    std::uint32_t get(KeyValuePool pool, std::string_view key);
    std::uint32_t set(KeyValuePool pool, std::string_view key, std::string_view value);
    std::uint32_t remove(KeyValuePool pool, std::string_view key);
    std::uint32_t list(KeyValuePool pool);
    std::uint32_t get_ip(std::string_view adapter, std::uint8_t family = 1);
    std::uint32_t set_ip(const IpSettings& settings);

    void set_timeout(sim::Time timeout) { state_.timeout = timeout; }
    ic::Phase phase() const { return service_.phase(); }
    ic::Version version() const { return service_.version(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, service_);
    }

private:
    // What was asked, to read the answer.
    struct Asked {
        std::uint8_t operation = 0;
        KeyValuePool pool = KeyValuePool::external;
        std::vector<KeyValue> items;  // of an enumeration so far

        bool operator==(const Asked&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(operation, pool, items);
        }
    };
    struct State {
        sim::Time timeout = sim::Time::s(60);
        std::uint32_t last_request = 0;
        std::map<std::uint32_t, Asked> asked;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(timeout, last_request, asked);
        }
    };

    void negotiated(ic::Version) override {}
    void answered(std::uint32_t token, const ic::Answer& answer) override;
    std::uint32_t ask(Asked asked, std::vector<std::byte> body);
    bool next_item(std::uint32_t token, Asked& asked, const ic::Answer& answer);

    KeyValueListener* listener_;
    State state_;
    ic::Service service_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
