#include "models/behavioural/synthetic_driver.h"

#include "models/network/toeplitz.h"

namespace models {

SyntheticDriver::Config SyntheticDriver::config(const DriverCosts& costs, std::uint16_t channels) {
    Config config;
    config.channels = config.most_channels = channels;
    config.rss_key = microsoft_rss_key;
    config.costs = costs.bus;
    config.interrupt = costs.interrupt;
    config.per_frame = costs.frame;
    return config;
}

namespace {

SyntheticDriver::Config placed(SyntheticDriver::Config config, const GuestPlatform& platform) {
    config.virtual_processors = platform.processor_count();
    return config;
}

}  // namespace

SyntheticDriver::SyntheticDriver(const sim::Scope& scope, GuestPlatform& platform, NetworkDriverUser& user,
                                 const Config& config)
    : user_(user),
      processors_(platform.processor_count()),
      client_(scope, platform.bus(), *this, placed(config, platform),
              [&platform](std::uint16_t queue) -> sim::Processor& {
                  return platform.processor(queue % platform.processor_count());
              }) {
    platform.add_driver(vmbus::interface_type::network, *this);
}

}  // namespace models
