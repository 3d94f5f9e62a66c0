#include "vmbus/integration/key_value.h"

#include <array>
#include <utility>

#include "sim/check.h"
#include "vmbus/inband/bytes.h"
#include "vmbus/inband/utf16.h"

namespace vmbus {

namespace {

constexpr std::array key_value_versions{ic::Version{1, 0}, ic::Version{3, 0}, ic::Version{4, 0}};

namespace operation {
constexpr std::uint8_t get = 0;
constexpr std::uint8_t set = 1;
constexpr std::uint8_t remove = 2;
constexpr std::uint8_t enumerate = 3;
constexpr std::uint8_t get_ip = 4;
constexpr std::uint8_t set_ip = 5;
}  // namespace operation

constexpr std::uint32_t type_string = 1;  // the registry's REG_SZ

// A record: type, key size, value size (u32 each), key[512], value[2048]. Sizes count the zero at the end. The guest
// answers in the same bytes, so a request always has the full length: operation (u8), pool (u8), two bytes of padding,
// the index of an enumeration (u32), the record.
constexpr std::size_t exchange_bytes =
    4 + 4 + 12 + KeyValueExchange::longest_key_bytes + KeyValueExchange::longest_value_bytes;
static_assert(exchange_bytes == 2580);

// Addresses: operation, pool and then without padding adapter (128 units), family, DHCP (u8 each), addresses and
// subnets (1024 units), gateways (512), name servers (1024).
constexpr std::size_t adapter_bytes = 256;
constexpr std::size_t addresses_bytes = 2048;
constexpr std::size_t gateways_bytes = 1024;
constexpr std::size_t ip_bytes = 2 + adapter_bytes + 2 + 2 * addresses_bytes + gateways_bytes + addresses_bytes;
static_assert(ip_bytes == 7428);

std::vector<std::byte> text_of(std::string_view text, std::size_t room, const char* what) {
    auto units = to_utf16(text);
    units.resize(units.size() + 2);
    if (units.size() > room) {
        throw sim::UserError("key-value exchange: the " + std::string{what} + " has " +
                             std::to_string(units.size() / 2 - 1) + " characters; at most " +
                             std::to_string(room / 2 - 1) + " fit");
    }
    return units;
}

// Operation and pool, with the padding or without.
ByteBuilder header(std::uint8_t operation, KeyValuePool pool) {
    ByteBuilder builder;
    builder.u8(operation).u8(static_cast<std::uint8_t>(pool));
    return builder;
}

void record(ByteBuilder& builder, std::string_view key, std::string_view value) {
    const auto key_units = text_of(key, KeyValueExchange::longest_key_bytes, "key");
    const auto value_units = text_of(value, KeyValueExchange::longest_value_bytes, "value");
    builder.u32(type_string);
    builder.u32(static_cast<std::uint32_t>(key_units.size())).u32(static_cast<std::uint32_t>(value_units.size()));
    builder.field(key_units, KeyValueExchange::longest_key_bytes);
    builder.field(value_units, KeyValueExchange::longest_value_bytes);
}

std::vector<std::byte> padded(ByteBuilder& builder) {
    builder.zeros(exchange_bytes - builder.size());
    return builder.take();
}

// A guest's sizes are not believed: text ends at a zero or with its room.
KeyValue read_record(ByteReader& reader) {
    const std::uint32_t type = reader.u32();
    reader.skip(8);
    const auto key = reader.bytes(KeyValueExchange::longest_key_bytes);
    const auto value = reader.bytes(KeyValueExchange::longest_value_bytes);
    KeyValue item{from_utf16(key), from_utf16(value)};
    ByteReader number{value};
    if (type == 4) item.value = std::to_string(number.u32());
    if (type == 8 || type == 11) item.value = std::to_string(number.u64());
    return item;
}

IpSettings read_ip(ByteReader& reader) {
    IpSettings ip;
    reader.skip(2);
    ip.adapter = from_utf16(reader.bytes(adapter_bytes));
    ip.family = reader.u8();
    ip.dhcp = reader.u8() != 0;
    ip.addresses = from_utf16(reader.bytes(addresses_bytes));
    ip.subnets = from_utf16(reader.bytes(addresses_bytes));
    ip.gateways = from_utf16(reader.bytes(gateways_bytes));
    ip.name_servers = from_utf16(reader.bytes(addresses_bytes));
    return ip;
}

std::vector<std::byte> write_ip(std::uint8_t operation, const IpSettings& ip) {
    ByteBuilder body = header(operation, KeyValuePool::external);
    body.field(text_of(ip.adapter, adapter_bytes, "adapter"), adapter_bytes).u8(ip.family).u8(ip.dhcp);
    body.field(text_of(ip.addresses, addresses_bytes, "list of addresses"), addresses_bytes);
    body.field(text_of(ip.subnets, addresses_bytes, "list of subnets"), addresses_bytes);
    body.field(text_of(ip.gateways, gateways_bytes, "list of gateways"), gateways_bytes);
    body.field(text_of(ip.name_servers, addresses_bytes, "list of name servers"), addresses_bytes);
    return body.take();
}

std::vector<std::byte> enumerate_body(KeyValuePool pool, std::uint32_t index) {
    ByteBuilder body = header(operation::enumerate, pool);
    body.u16(0).u32(index);
    return padded(body);
}

}  // namespace

KeyValueExchange::KeyValueExchange(const sim::Scope& scope, const ServiceHost& host, KeyValueListener* listener)
    : listener_(listener),
      service_(scope, host,
               {ic::Type::key_value_exchange, interface_type::key_value_pair, instance, key_value_versions}, *this),
      registration_(scope.register_state(*this)) {}

std::uint32_t KeyValueExchange::get(KeyValuePool pool, std::string_view key) {
    ByteBuilder body = header(operation::get, pool);
    record(body.u16(0), key, {});
    return ask({operation::get, pool, {}}, padded(body));
}

std::uint32_t KeyValueExchange::set(KeyValuePool pool, std::string_view key, std::string_view value) {
    ByteBuilder body = header(operation::set, pool);
    record(body.u16(0), key, value);
    return ask({operation::set, pool, {}}, padded(body));
}

std::uint32_t KeyValueExchange::remove(KeyValuePool pool, std::string_view key) {
    const auto units = text_of(key, longest_key_bytes, "key");
    ByteBuilder body = header(operation::remove, pool);
    body.u16(0).u32(static_cast<std::uint32_t>(units.size())).field(units, longest_key_bytes);
    return ask({operation::remove, pool, {}}, padded(body));
}

std::uint32_t KeyValueExchange::list(KeyValuePool pool) {
    return ask({operation::enumerate, pool, {}}, enumerate_body(pool, 0));
}

std::uint32_t KeyValueExchange::get_ip(std::string_view adapter, std::uint8_t family) {
    IpSettings ip;
    ip.adapter = adapter;
    ip.family = family;
    return ask({operation::get_ip, KeyValuePool::external, {}}, write_ip(operation::get_ip, ip));
}

std::uint32_t KeyValueExchange::set_ip(const IpSettings& settings) {
    return ask({operation::set_ip, KeyValuePool::external, {}}, write_ip(operation::set_ip, settings));
}

std::uint32_t KeyValueExchange::ask(Asked asked, std::vector<std::byte> body) {
    const std::uint32_t token = ++state_.last_request;
    state_.asked.emplace(token, std::move(asked));
    service_.ask(token, std::move(body), state_.timeout);
    return token;
}

// The item, and the question for the next one. False: the enumeration is over.
bool KeyValueExchange::next_item(std::uint32_t token, Asked& asked, const ic::Answer& answer) {
    if (!answer.ok()) return false;
    ByteReader reader{answer.body};
    reader.skip(8);
    KeyValue item = read_record(reader);
    if (!reader.complete()) return false;
    asked.items.push_back(std::move(item));
    if (asked.items.size() >= most_items) return false;
    service_.ask(token, enumerate_body(asked.pool, static_cast<std::uint32_t>(asked.items.size())), state_.timeout);
    return true;
}

void KeyValueExchange::answered(std::uint32_t token, const ic::Answer& answer) {
    const auto place = state_.asked.find(token);
    if (place == state_.asked.end()) return;
    const bool enumerating = place->second.operation == operation::enumerate;
    if (enumerating && next_item(token, place->second, answer)) return;
    const Asked asked = std::move(place->second);
    state_.asked.erase(place);

    KeyValueResult result{answer.outcome, answer.status, asked.items, {}};
    ByteReader reader{answer.body};
    if (enumerating) {
        if (answer.status == ic::status::no_more_items) result.status = ic::status::ok;
    } else if (answer.ok() && asked.operation == operation::get) {
        reader.skip(4);
        result.items.push_back(read_record(reader));
    } else if (answer.ok() && asked.operation == operation::get_ip) {
        result.ip = read_ip(reader);
    }
    if (listener_ != nullptr) listener_->key_value_answered(token, result);
}

}  // namespace vmbus
