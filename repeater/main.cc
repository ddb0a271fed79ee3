#include "common/node/process.h"
#include "repeater/repeater.h"

int main(int argc, char** argv) {
  return aphlict::node::RunProcess(
      aphlict::config::Role::kRepeater, argc, argv,
      [](aphlict::net::Loop& loop, const aphlict::config::Settings& settings, aphlict::Log& log) {
        return std::make_unique<aphlict::repeater::Repeater>(loop, settings, log);
      });
}
