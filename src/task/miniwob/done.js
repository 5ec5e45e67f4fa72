typeof core !== 'undefined' && typeof WOB_DONE_GLOBAL !== 'undefined' && WOB_DONE_GLOBAL === true && WOB_EPISODE_ID === core.branchlineEpisode
