#include "vmbus/storage/scsi_reservations.h"

#include <algorithm>

namespace vmbus {
namespace {

using scsi::be;
using scsi::put_be;
using Outcome = ScsiReservations::Outcome;

Outcome conflict() {
    return {.status = scsi::Status::reservation_conflict};
}
Outcome refused(const scsi::Sense& sense) {
    return {.status = scsi::Status::check_condition, .sense = sense};
}

// A serial-attached initiator port's TransportID (SPC-4 7.6.4.6): its address is ours for the initiator.
void append_transport_id(std::vector<std::byte>& data, std::uint32_t initiator) {
    std::vector<std::byte> id(24);
    put_be(id, 0, 1, 0x06);
    put_be(id, 4, 8, 0x5002'2480'0000'0000ull | initiator);
    data.insert(data.end(), id.begin(), id.end());
}

}  // namespace

bool ScsiReservations::holds(InitiatorId initiator) const {
    if (type_ == Type::none || !registered(initiator)) return false;
    return is_all_registrants(type_) || persistent_holder_ == initiator;
}

bool ScsiReservations::conflicts(InitiatorId initiator, scsi::Access access) const {
    if (type_ == Type::none || access == scsi::Access::always || holds(initiator)) return false;
    if (is_for_registrants(type_) && registered(initiator)) return false;
    const bool exclusive = type_ == Type::exclusive_access || type_ == Type::exclusive_access_registrants ||
                           type_ == Type::exclusive_access_all;
    return exclusive || access == scsi::Access::changes;
}

bool ScsiReservations::reserve(InitiatorId initiator) {
    if (!keys_.empty() || reserved_by_other(initiator)) return false;
    holder_ = initiator;
    return true;
}

bool ScsiReservations::release(InitiatorId initiator) {
    if (!keys_.empty()) return false;
    if (holder_ == initiator) holder_.reset();
    return true;
}

std::optional<std::vector<std::byte>> ScsiReservations::in(std::uint8_t action) const {
    std::vector<std::byte> data(8);
    switch (static_cast<In>(action)) {
        case In::read_keys:
            for (const auto& [initiator, key] : keys_) {
                data.resize(data.size() + 8);
                put_be(data, data.size() - 8, 8, key);
            }
            break;
        case In::read_reservation:
            if (type_ != Type::none) {
                data.resize(24);
                if (!is_all_registrants(type_)) put_be(data, 8, 8, keys_.at(persistent_holder_));
                put_be(data, 21, 1, static_cast<std::uint64_t>(type_));
            }
            break;
        case In::report_capabilities:
            put_be(data, 0, 2, 8);
            put_be(data, 2, 1, 0x04);    // a registration is for all ports; there is only one
            put_be(data, 3, 1, 0x80);    // the mask of types is valid
            put_be(data, 4, 2, 0xea01);  // all six types
            return data;
        case In::read_full_status:
            for (const auto& [initiator, key] : keys_) {
                std::vector<std::byte> descriptor(24);
                put_be(descriptor, 0, 8, key);
                put_be(descriptor, 12, 1, holds(initiator) ? 0x03 : 0x02);  // all target ports; the holder
                put_be(descriptor, 13, 1, holds(initiator) ? static_cast<std::uint64_t>(type_) : 0);
                put_be(descriptor, 18, 2, 1);
                put_be(descriptor, 20, 4, 24);
                append_transport_id(descriptor, initiator);
                data.insert(data.end(), descriptor.begin(), descriptor.end());
            }
            break;
        default:
            return std::nullopt;
    }
    put_be(data, 0, 4, generation_);
    put_be(data, 4, 4, data.size() - 8);
    return data;
}

Outcome ScsiReservations::out(InitiatorId initiator, std::uint8_t action, std::uint8_t scope_and_type,
                              std::span<const std::byte, parameter_bytes> parameters) {
    const auto wanted = static_cast<Out>(action);
    if (action > static_cast<std::uint8_t>(Out::register_and_ignore)) return refused(scsi::sense::invalid_field_in_cdb);
    if (holder_) return conflict();  // SPC-2's reservations shut persistent ones out, the holder's too
    const std::uint64_t key = be<std::byte>(parameters, 0, 8);
    const std::uint64_t action_key = be<std::byte>(parameters, 8, 8);
    const auto flags = static_cast<std::uint8_t>(parameters[20]);
    const bool registers = wanted == Out::register_key || wanted == Out::register_and_ignore;
    // No other initiator ports are named here, and nothing outlives a loss of power.
    if ((flags & 0x08) != 0 || (registers && (flags & 0x01) != 0)) {
        return refused(scsi::sense::invalid_field_in_parameters);
    }
    if (registers) {
        const auto own = keys_.find(initiator);
        if (wanted == Out::register_key && key != (own == keys_.end() ? 0 : own->second)) return conflict();
        return register_key(initiator, action_key);
    }
    if (!registered(initiator) || keys_.at(initiator) != key) return conflict();
    if (wanted == Out::clear) return clear(initiator);

    const auto type = static_cast<Type>(scope_and_type & 0x0f);
    const bool known_type = type == Type::write_exclusive || type == Type::exclusive_access ||
                            (type >= Type::write_exclusive_registrants && type <= Type::exclusive_access_all);
    if (scope_and_type >> 4 != 0 || !known_type) return refused(scsi::sense::invalid_field_in_cdb);
    if (wanted == Out::reserve) return reserve_persistently(initiator, type);
    if (wanted == Out::release) return release_persistently(initiator, type);
    Outcome outcome = preempt(initiator, action_key, type);
    if (wanted == Out::preempt) outcome.aborted.clear();
    return outcome;
}

Outcome ScsiReservations::register_key(InitiatorId initiator, std::uint64_t key) {
    Outcome outcome;
    if (key != 0) {
        if (!registered(initiator) && keys_.size() >= max_registrations) {
            return refused(scsi::sense::insufficient_registrations);
        }
        keys_[initiator] = key;
    } else if (registered(initiator)) {
        const bool last = keys_.size() == 1;
        if (holds(initiator) && (!is_all_registrants(type_) || last)) end_reservation(initiator, outcome);
        keys_.erase(initiator);
    }
    ++generation_;
    return outcome;
}

Outcome ScsiReservations::reserve_persistently(InitiatorId initiator, Type type) {
    if (type_ != Type::none) return holds(initiator) && type_ == type ? Outcome{} : conflict();
    type_ = type;
    persistent_holder_ = initiator;
    return {};
}

Outcome ScsiReservations::release_persistently(InitiatorId initiator, Type type) {
    Outcome outcome;
    if (!holds(initiator)) return outcome;
    if (type != type_) return refused(scsi::sense::invalid_release);
    end_reservation(initiator, outcome);
    return outcome;
}

Outcome ScsiReservations::clear(InitiatorId initiator) {
    Outcome outcome;
    for (const auto& [other, key] : keys_) {
        if (other != initiator) outcome.attentions.emplace_back(other, scsi::sense::reservations_preempted);
    }
    keys_.clear();
    type_ = Type::none;
    ++generation_;
    return outcome;
}

Outcome ScsiReservations::preempt(InitiatorId initiator, std::uint64_t key, Type type) {
    const bool all = type_ != Type::none && is_all_registrants(type_);
    if (key == 0 && !all) return refused(scsi::sense::invalid_field_in_parameters);
    const bool takes_reservation = type_ != Type::none && (all ? key == 0 : keys_.at(persistent_holder_) == key);
    Outcome outcome;
    bool found = false;
    for (const auto& [other, their_key] : keys_) {
        if (key != 0 && their_key != key) continue;
        found = true;
        if (other == initiator) continue;
        outcome.attentions.emplace_back(other, scsi::sense::registrations_preempted);
        outcome.aborted.push_back(other);
    }
    if (!found) return conflict();
    for (const InitiatorId other : outcome.aborted) keys_.erase(other);
    if (takes_reservation) {
        if (type != type_ && is_for_registrants(type_)) {
            for (const auto& [other, their_key] : keys_) {
                if (other != initiator) outcome.attentions.emplace_back(other, scsi::sense::reservations_released);
            }
        }
        type_ = type;
        persistent_holder_ = initiator;
    }
    ++generation_;
    return outcome;
}

void ScsiReservations::end_reservation(InitiatorId by, Outcome& outcome) {
    if (is_for_registrants(type_)) {
        for (const auto& [other, key] : keys_) {
            if (other != by) outcome.attentions.emplace_back(other, scsi::sense::reservations_released);
        }
    }
    type_ = Type::none;
}

}  // namespace vmbus
