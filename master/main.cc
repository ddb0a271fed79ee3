#include "common/node/process.h"
#include "master/master.h"

int main(int argc, char** argv) {
  return aphlict::node::RunProcess(
      aphlict::config::Role::kMaster, argc, argv,
      [](aphlict::net::Loop& loop, const aphlict::config::Settings& settings, aphlict::Log& log) {
        return std::make_unique<aphlict::master::Master>(loop, settings, log);
      });
}
