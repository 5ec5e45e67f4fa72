(() => {
  Math.seedrandom(SEED);
  core.setDataMode('train');
  core.EPISODE_MAX_TIME = 2000000000;
  const before = WOB_EPISODE_ID;
  core.startEpisodeReal();
  core.clearTimer();
  core.cover_div.onclick = null;
  core.branchlineEpisode = before + 1;
  return true;
})()
